// The decompositions in tests/golden/stl, which the scripts beside that folder made.
#pragma once

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace foreshadow::kernels::testing {

struct Golden {
  std::vector<std::vector<double>> columns;  // observed, seasonal, trend, remainder, weight
  double range = 0;
  double median_remainder = 0;  // of its absolute values
};

// The five columns of a file.
inline std::vector<std::vector<double>> ReadColumns(const std::string& name) {
  std::ifstream file(std::string(FORESHADOW_SOURCE_DIR) + "/tests/golden/stl/" + name + ".csv");
  std::vector<std::vector<double>> columns(5);
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::istringstream row(line);
    std::string field;
    for (auto& column : columns) {
      std::getline(row, field, ',');
      column.push_back(std::stod(field));
    }
  }
  return columns;
}

inline Golden ReadGolden(const std::string& name) {
  Golden golden;
  golden.columns = ReadColumns(name);
  const auto& observed = golden.columns[0];
  golden.range = *std::max_element(observed.begin(), observed.end()) -
                 *std::min_element(observed.begin(), observed.end());
  std::vector<double> sizes;
  for (const double value : golden.columns[3]) sizes.push_back(std::abs(value));
  std::nth_element(sizes.begin(), sizes.begin() + std::ssize(sizes) / 2, sizes.end());
  golden.median_remainder = sizes[sizes.size() / 2];
  return golden;
}

}  // namespace foreshadow::kernels::testing
