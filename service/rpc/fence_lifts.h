// Fences of promotions that did not come about, which could not be lifted yet. While one is being
// lifted its account is not promoted, and a promotion that begins takes back the wish to lift: a
// fence of this promotion must stay. Thread-safe. Not durable: after a restart of the server the
// fence stands until the account's next promotion.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "service/tick/types.h"

namespace foreshadow::rpc {

class FenceLifts {
 public:
  // False while the account's fence is being lifted: to be tried again.
  bool BeginPromotion(const std::string& account) {
    const std::lock_guard lock(mutex_);
    if (lifting_.contains(account)) return false;
    waiting_.erase(account);
    return true;
  }
  // The promotion's fence is to be lifted later.
  void Want(const Action& promotion) {
    const std::lock_guard lock(mutex_);
    waiting_.insert_or_assign(promotion.account, promotion);
  }
  // All that wait; each is being lifted until Ended.
  std::vector<Action> Take() {
    const std::lock_guard lock(mutex_);
    std::vector<Action> taken;
    for (auto& [account, promotion] : waiting_) {
      lifting_.insert(account);
      taken.push_back(std::move(promotion));
    }
    waiting_.clear();
    return taken;
  }
  void Ended(const Action& promotion, bool lifted) {
    const std::lock_guard lock(mutex_);
    lifting_.erase(promotion.account);
    if (!lifted) waiting_.insert_or_assign(promotion.account, promotion);
  }

 private:
  std::mutex mutex_;
  std::map<std::string, Action> waiting_;  // by account: one each, the newest
  std::set<std::string> lifting_;
};

}  // namespace foreshadow::rpc
