// An authority and what it signs, made by openssl in a folder: for tests of TLS and identities.
#pragma once

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "service/security/access.h"
#include "service/tls/credentials.h"
#include "tests/integration/process.h"
#include "tests/integration/running_server.h"

namespace foreshadow::testing {

inline constexpr const char* kToken = "s3cret-token-of-the-robot";

// An authority and what it signs, in a folder.
class Certificates {
 public:
  explicit Certificates(std::string folder) : folder_(std::move(folder)) {
    MakeAuthority("ca");
    MakeAuthority("other-ca");
    Make("server", "ca", "127.0.0.1", 10);
    Make("reader", "ca", "reader.example", 10);
    Make("operator", "ca", "operator.example", 10);
    Make("stranger", "ca", "stranger.example", 10);
    Make("forged", "other-ca", "operator.example", 10);
    Make("expired", "ca", "operator.example", -1);
    WriteFile(path("token"), std::string(kToken) + "\n");
    WriteFile(path("wrong-token"), "not-the-token\n");
    WriteIdentities("[\"read\"]");
  }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  tls::ClientFiles As(const std::string& name, const std::string& ca = "ca") const {
    tls::ClientFiles files;
    files.ca = path(ca + ".pem");
    if (name.ends_with("token")) {
      files.token = path(name);
    } else if (!name.empty()) {
      files.cert = path(name + ".pem");
      files.key = path(name + ".key");
    }
    return files;
  }

  void WriteIdentities(const std::string& roles_of_reader) {
    WriteFile(
        path("who.toml"),
        fmt::format("[[identity]]\nname = \"reader\"\nroles = {}\ncertificate = "
                    "\"reader.example\"\n[[identity]]\nname = \"operator\"\nroles = [\"read\", "
                    "\"operate\"]\ncertificate = \"operator.example\"\n[[identity]]\nname = "
                    "\"robot\"\nroles = [\"ingest\"]\ntoken_sha256 = \"{}\"\n",
                    roles_of_reader, security::Sha256Hex(kToken)));
  }

  // Signed for `days` from now; less than 0: it has ended.
  void Make(const std::string& name, const std::string& ca, const std::string& host, int days) {
    const std::string san = host[0] == '1' ? "IP:" + host : "DNS:" + host;
    WriteFile(path("ext"), "subjectAltName=" + san + "\n");
    Run({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
         path(name + ".key"), "-out", path("csr"), "-subj", "/CN=" + host});
    Run({"x509", "-req", "-in", path("csr"), "-CA", path(ca + ".pem"), "-CAkey", path(ca + ".key"),
         "-CAcreateserial", "-days", std::to_string(days), "-extfile", path("ext"), "-out",
         path(name + ".pem")});
  }

  void MakeAuthority(const std::string& name) {
    Run({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", path(name + ".key"), "-out", path(name + ".pem"), "-days", "10", "-subj",
         "/CN=" + name});
  }

 private:
  void Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "/usr/bin/openssl");
    Process openssl(arguments, path("openssl.log"));
    ASSERT_EQ(openssl.Wait(), 0) << openssl.Output();
  }
  const std::string folder_;
};

}  // namespace foreshadow::testing
