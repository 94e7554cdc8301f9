// How many series a second ARIMA and ETS fit on one core, and how well: peers/fitted.py does the
// same with statsforecast on the same file. Argument: a gzip-free CSV with a header, then a name
// and samples a row; the last 2,016 of each row without gaps are taken.
#include <fmt/format.h>

#include <cmath>
#include <ctime>
#include <fstream>
#include <sstream>
#include <vector>

#include "models/arima/arima.h"
#include "models/arima/choose.h"
#include "models/ets/ets.h"

namespace foreshadow::models {
namespace {

constexpr size_t kSteps = 2'016;

std::vector<std::vector<double>> ReadRows(const char* path) {
  std::vector<std::vector<double>> rows;
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    std::istringstream words(line);
    std::string word;
    std::getline(words, word, ',');
    std::vector<double> row;
    while (std::getline(words, word, ',')) row.push_back(word.empty() ? NAN : std::stod(word));
    if (row.size() < kSteps) continue;
    row.erase(row.begin(), row.end() - kSteps);
    bool usable = row.front() != row.back();
    for (const double x : row) usable = usable && !std::isnan(x);
    if (usable) rows.push_back(row);
  }
  return rows;
}

double Cpu() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

void Run(const std::vector<std::vector<double>>& rows) {
  const auto count = static_cast<double>(rows.size());
  ArimaFitter fitter;
  ArimaSamples samples;
  double likelihood = 0;
  double start = Cpu();
  for (const auto& row : rows) {
    if (!samples.Prepare(row, 1, 0, 0)) continue;
    likelihood += fitter.Fit({1, 1, 1}, samples, nullptr, kFitTolerance).log_likelihood;
  }
  fmt::print("arima(1,1,1)  {:8.1f} series/s  mean log likelihood {:.3f}\n",
             count / (Cpu() - start), likelihood / count);
  double aicc = 0;
  start = Cpu();
  for (const auto& row : rows) aicc += ChooseArima(row, 0, 0, fitter, samples).fit.aicc;
  fmt::print("chosen order  {:8.1f} series/s  mean AICc {:.3f}\n", count / (Cpu() - start),
             aicc / count);

  const auto series = static_cast<int64_t>(rows.size());
  std::vector<float> values;
  for (size_t t = 0; t < kSteps; ++t) {
    for (const auto& row : rows) values.push_back(static_cast<float>(row[t]));
  }
  const std::vector<SignalKind> signals(rows.size());
  const std::vector<int32_t> periods(rows.size(), 288);
  const History history{0, 300'000, {values.data(), kSteps, series, series}, signals, periods};
  for (const auto& model : {MakeArima(1), MakeEts(1)}) {
    QuantileBlock block;
    start = Cpu();
    if (!model->Forecast(history, 12, block).ok()) continue;
    fmt::print("{}, 12 steps, season 288  {:8.1f} series/s\n", model->name(),
               count / (Cpu() - start));
  }
}

}  // namespace
}  // namespace foreshadow::models

int main(int argc, char** argv) {
  if (argc != 2) return 1;
  foreshadow::models::Run(foreshadow::models::ReadRows(argv[1]));
}
