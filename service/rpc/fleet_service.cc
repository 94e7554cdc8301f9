#include <fmt/core.h>

#include <algorithm>
#include <unordered_set>

#include "foreshadow/v1/fleet.grpc.pb.h"
#include "service/rpc/convert.h"
#include "service/rpc/services.h"

namespace foreshadow::rpc {
namespace {

constexpr int kAccountsMax = 100'000;  // of one call
constexpr uint32_t kPageDefault = 10'000;
constexpr size_t kApplicationBytesMax = 256;
constexpr uint32_t kPriorityMax = 100;

absl::StatusOr<Account> FromProto(const v1::Account& proto, int index, const Fleet& fleet) {
  const auto bad = [&](const std::string& what) {
    return absl::InvalidArgumentError(fmt::format("accounts[{}].{}", index, what));
  };
  if (!IsAccountId(proto.id())) {
    return bad(fmt::format("id = \"{}\": must be 1 .. {} printable ASCII characters without spaces",
                           proto.id(), kAccountIdBytesMax));
  }
  const auto cell = std::find_if(fleet.cells.begin(), fleet.cells.end(),
                                 [&](const Cell& c) { return c.id == proto.cell(); });
  if (cell == fleet.cells.end()) {
    std::string known;
    for (const Cell& c : fleet.cells) known += (known.empty() ? "" : ", ") + c.id;
    return bad(fmt::format("cell = \"{}\" of account {}: unknown cell; configured are {}",
                           proto.cell(), proto.id(), known));
  }
  if (proto.application().size() > kApplicationBytesMax) {
    return bad(fmt::format("application of account {}: {} bytes, at most {} are allowed",
                           proto.id(), proto.application().size(), kApplicationBytesMax));
  }
  if (proto.priority() > kPriorityMax) {
    return bad(fmt::format("priority = {} of account {}: must be 0 .. {}", proto.priority(),
                           proto.id(), kPriorityMax));
  }
  return Account{proto.id(),          static_cast<int32_t>(cell - fleet.cells.begin()),
                 proto.application(), static_cast<int32_t>(proto.priority()),
                 proto.pinned(),      proto.stateful()};
}

class FleetService : public v1::Fleet::Service {
 public:
  explicit FleetService(Engine& engine) : engine_(engine) {}

  grpc::Status PutAccounts(grpc::ServerContext*, const v1::PutAccountsRequest* request,
                           v1::PutAccountsResponse* response) override {
    if (request->accounts_size() > kAccountsMax) {
      return {grpc::StatusCode::INVALID_ARGUMENT,
              fmt::format("accounts: {} in one call, at most {} are allowed",
                          request->accounts_size(), kAccountsMax)};
    }
    const auto fleet = engine_.fleet();
    std::vector<Account> accounts;
    std::unordered_set<std::string> ids;
    for (int i = 0; i < request->accounts_size(); ++i) {
      auto account = FromProto(request->accounts(i), i, *fleet);
      if (!account.ok()) return ToGrpc(account.status());
      if (!ids.insert(account->id).second) {
        return {grpc::StatusCode::INVALID_ARGUMENT,
                fmt::format("accounts[{}].id = \"{}\" is given twice", i, account->id)};
      }
      accounts.push_back(*std::move(account));
    }
    const auto put = engine_.PutAccounts(accounts);
    if (!put.ok()) return ToGrpc(put.status());
    response->set_added_count(static_cast<uint64_t>(put->added_count));
    response->set_changed_count(static_cast<uint64_t>(put->changed_count));
    return grpc::Status::OK;
  }

  grpc::Status ListAccounts(grpc::ServerContext*, const v1::ListAccountsRequest* request,
                            v1::ListAccountsResponse* response) override {
    const uint32_t asked = request->page_size() == 0 ? kPageDefault : request->page_size();
    const uint32_t size = std::min<uint32_t>(asked, kAccountsMax);
    const auto fleet = engine_.fleet();
    std::vector<const Account*> wanted;
    for (const Account& account : fleet->accounts) {
      const bool here = request->cell().empty() || fleet->cells[account.cell].id == request->cell();
      if (here && account.id > request->page_token()) wanted.push_back(&account);
    }
    std::sort(wanted.begin(), wanted.end(),
              [](const Account* a, const Account* b) { return a->id < b->id; });
    if (wanted.size() > size) {
      wanted.resize(size);
      response->set_next_page_token(wanted.back()->id);
    }
    for (const Account* account : wanted) *response->add_accounts() = ToProto(*account, *fleet);
    return grpc::Status::OK;
  }

  grpc::Status ListCells(grpc::ServerContext*, const v1::ListCellsRequest*,
                         v1::ListCellsResponse* response) override {
    if (const auto report = engine_.report()) {
      for (size_t c = 0; c < report->cells.size(); ++c) {
        *response->add_cells() = ToProto(report->cells[c], report->risks[c]);
      }
      return grpc::Status::OK;
    }
    for (const Cell& cell : engine_.fleet()->cells) {
      *response->add_cells() = ToProto(CellView{cell, {}, {}, 0, 0}, CellRisk{});
    }
    return grpc::Status::OK;
  }

 private:
  Engine& engine_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeFleetService(Engine& engine) {
  return std::make_unique<FleetService>(engine);
}

}  // namespace foreshadow::rpc
