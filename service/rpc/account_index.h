// Where an account is among those of a fleet, by id. A fleet changes seldom, so the index of the
// newest one is kept. Any thread.
#pragma once

#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "service/tick/types.h"

namespace foreshadow::rpc {

class AccountIndex {
 public:
  using Index = std::unordered_map<std::string_view, int64_t>;

  // Points into the fleet, which the result keeps alive.
  std::shared_ptr<const Index> Of(const std::shared_ptr<const Fleet>& fleet) {
    const std::lock_guard lock(mutex_);
    if (of_ == nullptr || of_->fleet != fleet) {
      auto made = std::make_shared<Held>();
      made->fleet = fleet;
      made->index.reserve(fleet->accounts.size());
      for (size_t a = 0; a < fleet->accounts.size(); ++a) {
        made->index[fleet->accounts[a].id] = static_cast<int64_t>(a);
      }
      of_ = std::move(made);
    }
    return {of_, &of_->index};
  }

 private:
  struct Held {
    std::shared_ptr<const Fleet> fleet;
    Index index;
  };
  std::mutex mutex_;
  std::shared_ptr<const Held> of_;
};

}  // namespace foreshadow::rpc
