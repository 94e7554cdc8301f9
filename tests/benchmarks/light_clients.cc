#include "tests/benchmarks/light_clients.h"

#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "envoy/service/discovery/v3/discovery.pb.h"
#include "kernels/check.h"
#include "service/xds/resources.h"

namespace foreshadow::testing {
namespace {

namespace discovery = envoy::service::discovery::v3;

constexpr int kClientsMax = 10'000;
constexpr size_t kPrefixBytes = 5;  // of a gRPC message: not compressed, and its length

std::string Framed(const discovery::DiscoveryRequest& request) {
  const std::string message = request.SerializeAsString();
  const uint32_t length = htonl(static_cast<uint32_t>(message.size()));
  std::string framed(kPrefixBytes, '\0');
  std::memcpy(framed.data() + 1, &length, sizeof(length));
  return framed + message;
}

// One connection with one call on it.
class LightClient {
 public:
  LightClient(int port, int number, const std::string& resource) {
    socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    FORESHADOW_CHECK(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const int stamps = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    setsockopt(socket_, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof(stamps));

    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
    nghttp2_session_client_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);

    request_.mutable_node()->set_id("light-" + std::to_string(number));
    request_.set_type_url(xds::TypeUrl(xds::Type::kEndpoints));
    request_.add_resource_names(resource);
    out_ = Framed(request_);
    const auto header = [](const char* name, const char* value) {
      const auto bytes = [](const char* text) {
        return reinterpret_cast<uint8_t*>(const_cast<char*>(text));
      };
      return nghttp2_nv{bytes(name), bytes(value), std::strlen(name), std::strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
    };
    const nghttp2_nv headers[] = {
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path",
               "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"),
        header(":authority", "localhost"),
        header("content-type", "application/grpc"),
        header("te", "trailers")};
    nghttp2_data_provider body{{.ptr = this}, OnBody};
    call_ = nghttp2_submit_request(session_, nullptr, headers, std::size(headers), &body, this);
    Write();
  }
  ~LightClient() {
    nghttp2_session_del(session_);
    close(socket_);
  }

  int socket() const { return socket_; }

  // Answers that are whole now, and when the last of their bytes arrived; 0: none is.
  int64_t Read() {
    uint8_t bytes[16 << 10];
    alignas(cmsghdr) char control[256];
    iovec into{bytes, sizeof(bytes)};
    msghdr message{};
    message.msg_iov = &into;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    const ssize_t got = recvmsg(socket_, &message, 0);
    FORESHADOW_CHECK(got > 0);
    const int before = answers_;
    nghttp2_session_mem_recv(session_, bytes, static_cast<size_t>(got));
    Write();
    if (answers_ == before) return 0;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPING) continue;
      scm_timestamping at{};
      std::memcpy(&at, CMSG_DATA(c), sizeof(at));
      return at.ts[0].tv_sec * 1'000'000'000 + at.ts[0].tv_nsec;
    }
    // The kernel begins to stamp a while after it was asked to: the first answers may come before.
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
  }
  int answers() const { return answers_; }

 private:
  static ssize_t OnBody(nghttp2_session*, int32_t, uint8_t* to, size_t room, uint32_t*,
                        nghttp2_data_source*, void* self) {
    std::string& out = static_cast<LightClient*>(self)->out_;
    if (out.empty()) return NGHTTP2_ERR_DEFERRED;
    const size_t size = std::min(room, out.size());
    std::memcpy(to, out.data(), size);
    out.erase(0, size);
    return static_cast<ssize_t>(size);
  }

  static int OnData(nghttp2_session*, uint8_t, int32_t, const uint8_t* data, size_t size,
                    void* self) {
    static_cast<LightClient*>(self)->Take(
        std::string_view(reinterpret_cast<const char*>(data), size));
    return 0;
  }

  void Take(std::string_view data) {
    in_ += data;
    while (in_.size() >= kPrefixBytes) {
      uint32_t length = 0;
      std::memcpy(&length, in_.data() + 1, sizeof(length));
      length = ntohl(length);
      if (in_.size() < kPrefixBytes + length) return;
      FORESHADOW_CHECK(
          response_.ParseFromArray(in_.data() + kPrefixBytes, static_cast<int>(length)));
      in_.erase(0, kPrefixBytes + length);
      ++answers_;
      request_.set_response_nonce(response_.nonce());
      request_.set_version_info(response_.version_info());
      request_.clear_node();
      out_ += Framed(request_);
      nghttp2_session_resume_data(session_, call_);
    }
  }

  void Write() {
    const uint8_t* bytes = nullptr;
    for (;;) {
      const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
      FORESHADOW_CHECK(size >= 0);
      if (size == 0) return;
      FORESHADOW_CHECK(write(socket_, bytes, static_cast<size_t>(size)) == size);
    }
  }

  int socket_ = -1;
  nghttp2_session* session_ = nullptr;
  int32_t call_ = 0;
  std::string out_, in_;
  int answers_ = 0;
  discovery::DiscoveryRequest request_;
  discovery::DiscoveryResponse response_;
};

}  // namespace

// What both processes see.
struct LightClients::Shared {
  std::atomic<int> port = 0;
  struct {
    std::atomic<int> answers = 0;
    std::atomic<int64_t> arrived_ns = 0;  // of the newest
  } client[kClientsMax];
};

LightClients::LightClients(int count, const std::string& resource) : count_(count) {
  FORESHADOW_CHECK(count <= kClientsMax);
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  FORESHADOW_CHECK(memory != MAP_FAILED);
  shared_ = new (memory) Shared;
  child_ = fork();
  if (child_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  while (shared_->port == 0) usleep(1'000);
  const int poll = epoll_create1(0);
  std::vector<std::unique_ptr<LightClient>> clients;
  for (int i = 0; i < count; ++i) {
    clients.push_back(std::make_unique<LightClient>(shared_->port, i, resource));
    epoll_event event{EPOLLIN, {.fd = i}};
    epoll_ctl(poll, EPOLL_CTL_ADD, clients.back()->socket(), &event);
  }
  epoll_event events[256];
  for (;;) {
    const int ready = epoll_wait(poll, events, std::size(events), -1);
    for (int e = 0; e < ready; ++e) {
      LightClient& client = *clients[static_cast<size_t>(events[e].data.fd)];
      const int64_t arrived_ns = client.Read();
      if (arrived_ns == 0) continue;
      auto& told = shared_->client[events[e].data.fd];
      told.arrived_ns = arrived_ns;
      told.answers = client.answers();
    }
  }
}

LightClients::~LightClients() {
  kill(child_, SIGKILL);
  waitpid(child_, nullptr, 0);
  munmap(shared_, sizeof(Shared));
}

void LightClients::Connect(int port) { shared_->port = port; }

std::vector<int64_t> LightClients::ArrivalsNs(int nth) {
  std::vector<int64_t> arrivals_ns;
  for (int i = 0; i < count_; ++i) {
    while (shared_->client[i].answers < nth) {
      FORESHADOW_CHECK(waitpid(child_, nullptr, WNOHANG) == 0);  // else it died: none will come
      usleep(1'000);
    }
    arrivals_ns.push_back(shared_->client[i].arrived_ns);
  }
  return arrivals_ns;
}

}  // namespace foreshadow::testing
