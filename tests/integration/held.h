// What a server that has stopped left in its history.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "service/history/store.h"

namespace foreshadow::testing {

using Values = std::map<int64_t, double>;  // by time in ms

// The samples of a signal of an account of cell "a", the only one.
inline Values Held(const std::string& folder, const std::string& account, SignalKind signal) {
  Values values;
  auto store = HistoryStore::Open(folder + "/data");
  EXPECT_TRUE(store.ok()) << store.status();
  const auto accounts = (*store)->ReadAccounts({Cell{"a", "", CellState::kUp, {}}});
  EXPECT_TRUE(accounts.ok()) << accounts.status();
  EXPECT_TRUE((*store)
                  ->ReadSamples(0,
                                [&](const std::vector<Sample>& piece) {
                                  for (const Sample& s : piece) {
                                    if ((*accounts)[s.account].id == account &&
                                        s.signal == signal) {
                                      values[s.time_ms] = static_cast<double>(s.value);
                                    }
                                  }
                                })
                  .ok());
  return values;
}

}  // namespace foreshadow::testing
