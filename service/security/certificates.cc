#include "service/security/certificates.h"

#include <fmt/core.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <optional>

namespace foreshadow::security {
namespace {

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

absl::Status Bad(const std::string& setting, const std::string& path, const std::string& what) {
  ERR_clear_error();
  return absl::InvalidArgumentError(fmt::format("{} = \"{}\": {}", setting, path, what));
}

absl::Status OpenFile(const std::string& setting, const std::string& path, Owned<BIO>& file) {
  file.reset(BIO_new_file(path.c_str(), "r"));
  if (file == nullptr) return Bad(setting, path, "cannot be opened");
  return absl::OkStatus();
}

std::string TimeText(const ASN1_TIME* time) {
  const Owned<BIO> text(BIO_new(BIO_s_mem()));
  ASN1_TIME_print(text.get(), time);
  char* data = nullptr;
  const long size = BIO_get_mem_data(text.get(), &data);
  return {data, static_cast<size_t>(size)};
}

// Nobody is there to ask for a pass phrase.
int NoPassPhrase(char*, int, int, void*) { return 0; }

}  // namespace

absl::Status CheckPair(const std::string& cert_setting, const std::string& cert_path,
                       const std::string& key_setting, const std::string& key_path) {
  Owned<BIO> file;
  if (absl::Status status = OpenFile(cert_setting, cert_path, file); !status.ok()) return status;
  const Owned<X509> cert(PEM_read_bio_X509(file.get(), nullptr, NoPassPhrase, nullptr));
  if (cert == nullptr) return Bad(cert_setting, cert_path, "must be a PEM certificate");
  const ASN1_TIME* ends = X509_get0_notAfter(cert.get());
  if (X509_cmp_current_time(ends) < 0) {
    return Bad(cert_setting, cert_path, "expired on " + TimeText(ends));
  }
  const ASN1_TIME* begins = X509_get0_notBefore(cert.get());
  if (X509_cmp_current_time(begins) > 0) {
    return Bad(cert_setting, cert_path, "is not valid before " + TimeText(begins));
  }
  if (absl::Status status = OpenFile(key_setting, key_path, file); !status.ok()) return status;
  const Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(file.get(), nullptr, NoPassPhrase, nullptr));
  if (key == nullptr) {
    return Bad(key_setting, key_path, "must be a PEM private key without a pass phrase");
  }
  if (X509_check_private_key(cert.get(), key.get()) != 1) {
    return Bad(key_setting, key_path,
               fmt::format("is not the key of {} \"{}\"", cert_setting, cert_path));
  }
  return absl::OkStatus();
}

absl::Status CheckAuthorities(const std::string& setting, const std::string& path) {
  Owned<BIO> file;
  if (absl::Status status = OpenFile(setting, path, file); !status.ok()) return status;
  const Owned<X509> cert(PEM_read_bio_X509(file.get(), nullptr, NoPassPhrase, nullptr));
  if (cert == nullptr) return Bad(setting, path, "must hold PEM certificates of authorities");
  return absl::OkStatus();
}

absl::StatusOr<int64_t> ExpiryOf(const std::string& setting, const std::string& path) {
  Owned<BIO> file;
  if (absl::Status status = OpenFile(setting, path, file); !status.ok()) return status;
  std::optional<int64_t> first_s;
  for (;;) {
    const Owned<X509> cert(PEM_read_bio_X509(file.get(), nullptr, NoPassPhrase, nullptr));
    if (cert == nullptr) break;
    std::tm ends = {};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert.get()), &ends) != 1) continue;
    const int64_t ends_s = timegm(&ends);
    first_s = std::min(first_s.value_or(ends_s), ends_s);
  }
  ERR_clear_error();
  if (!first_s) return Bad(setting, path, "must hold PEM certificates");
  return *first_s;
}

}  // namespace foreshadow::security
