// Child processes of the demo: started quietly, told apart by name, ended for sure.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace foreshadow::training {

class ChildProcess {
 public:
  // Starts it with its output in `log_path`. It ends with this process, however that ends.
  static absl::StatusOr<ChildProcess> Start(const std::vector<std::string>& command,
                                            const std::string& log_path);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();  // Stop

  // Waits for the file that a server writes its port to. An error tells the end of its log when it
  // ended instead.
  absl::StatusOr<int> WaitForPort(const std::string& port_file);
  // Until it ends by itself; its exit code, or 128 + the signal that ended it.
  int Wait();
  // SIGTERM, SIGKILL if that does not help within seconds. Idempotent.
  void Stop();

 private:
  ChildProcess(pid_t pid, std::string name, std::string log_path);
  pid_t pid_;
  std::string name_;
  std::string log_path_;
};

}  // namespace foreshadow::training
