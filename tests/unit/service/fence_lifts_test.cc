// Fences that wait to be lifted, between promotions of the same account.
#include "service/rpc/fence_lifts.h"

#include <gtest/gtest.h>

namespace foreshadow::rpc {
namespace {

Action PromotionOf(const std::string& account, uint64_t epoch) {
  Action action;
  action.kind = ActionKind::kPromote;
  action.account = account;
  action.epoch = epoch;
  return action;
}

TEST(FenceLifts, AreTriedAgainUntilOneWorks) {
  FenceLifts lifts;
  EXPECT_TRUE(lifts.Take().empty());
  lifts.Want(PromotionOf("acme", 2));
  for (const bool works : {false, false, true}) {
    const std::vector<Action> taken = lifts.Take();
    ASSERT_EQ(taken.size(), 1u);
    EXPECT_EQ(taken[0].epoch, 2u);
    EXPECT_TRUE(lifts.Take().empty()) << "it is being lifted";
    lifts.Ended(taken[0], works);
  }
  EXPECT_TRUE(lifts.Take().empty());
}

// A lift that comes late would open the old primary beside the new one.
TEST(FenceLifts, NeverMeetAPromotionOfTheSameAccount) {
  FenceLifts lifts;
  lifts.Want(PromotionOf("acme", 2));
  EXPECT_TRUE(lifts.BeginPromotion("acme"));
  EXPECT_TRUE(lifts.Take().empty()) << "the promotion wants this fence";

  lifts.Want(PromotionOf("acme", 2));
  const std::vector<Action> taken = lifts.Take();
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_FALSE(lifts.BeginPromotion("acme"));
  EXPECT_TRUE(lifts.BeginPromotion("other"));
  lifts.Ended(taken[0], true);
  EXPECT_TRUE(lifts.BeginPromotion("acme"));
}

}  // namespace
}  // namespace foreshadow::rpc
