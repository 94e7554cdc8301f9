// stl-cpp as a peer of `foreshadow bench`, which compiles this file against a checkout of it;
// called as training/bench/peers.h says.
#include <ctime>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <stl.hpp>
#include <string>
#include <vector>

namespace {

std::vector<size_t> Numbers(const std::string& text) {
  std::vector<size_t> numbers;
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');) numbers.push_back(std::stoul(word));
  return numbers;
}

double CpuSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

void AverageOverCycle(std::vector<float>& season, size_t period) {
  for (size_t phase = 0; phase < period; ++phase) {
    double sum = 0;
    size_t count = 0;
    for (size_t i = phase; i < season.size(); i += period, ++count) sum += season[i];
    for (size_t i = phase; i < season.size(); i += period) {
      season[i] = static_cast<float>(sum / static_cast<double>(count));
    }
  }
}

}  // namespace

int main(int, char** argv) {
  std::map<std::string, std::string> given;
  for (char** argument = argv + 3; *argument != nullptr; ++argument) {
    const std::string text = *argument;
    const size_t equals = text.find('=');
    given[text.substr(0, equals)] = text.substr(equals + 1);
  }
  const auto all = [&](const std::string& key) { return Numbers(given.at(key)); };
  const auto first_of = [&](const std::string& key) { return all(key).front(); };

  const std::vector<size_t> periods = all("period");
  stl::StlParams params;
  params.seasonal_length = first_of("seasonal_window");
  params.seasonal_degree = static_cast<int>(first_of("seasonal_degree"));
  params.seasonal_jump = first_of("seasonal_jump");
  params.trend_degree = static_cast<int>(first_of("trend_degree"));
  params.low_pass_degree = static_cast<int>(first_of("low_pass_degree"));
  params.inner_loops = first_of("inner");
  params.outer_loops = first_of("outer");
  params.robust = first_of("outer") > 0;
  if (periods.size() == 1 || first_of("trend_jump") == 1) {
    params.trend_jump = first_of("trend_jump");
    params.low_pass_jump = first_of("low_pass_jump");
  }
  stl::MstlParams several;
  several.iterations = first_of("iterations");
  several.seasonal_lengths = all("seasonal_window");
  if (periods.size() == 1) {
    params.trend_length = first_of("trend_window");
    params.low_pass_length = first_of("low_pass_window");
  } else {
    // Windows, and jumps that follow from them, are left to its defaults, which are R's.
    if (first_of("trend_jump") != 1) params.seasonal_jump.reset();
    several.stl_params = params;
  }

  const size_t steps = first_of("steps");
  std::vector<std::vector<float>> series(first_of("series"), std::vector<float>(steps));
  std::ifstream input(argv[1], std::ios::binary);
  for (std::vector<float>& values : series) {
    input.read(reinterpret_cast<char*>(values.data()),
               static_cast<std::streamsize>(steps * sizeof(float)));
  }
  std::cout << "version stl-cpp, float, -Ofast -march=native\n";

  using Parts = std::vector<std::vector<float>>;
  const auto decompose = [&](const std::vector<float>& values) -> Parts {
    if (periods.size() == 1) {
      const stl::Stl<float> fit(values, periods[0], params);
      return {fit.seasonal(), fit.trend()};
    }
    const stl::Mstl<float> fit(values, periods, several);
    Parts parts = fit.seasonal();
    parts.push_back(fit.trend());
    return parts;
  };

  const size_t passes = first_of("passes");
  const double seconds = std::stod(given.at("seconds"));
  std::vector<Parts> first;
  for (size_t pass = 0; pass < passes; ++pass) {
    std::vector<Parts> parts;
    const double start_s = CpuSeconds();
    for (const std::vector<float>& values : series) {
      parts.push_back(decompose(values));
      if (CpuSeconds() - start_s >= seconds) break;
    }
    std::cout << "pass " << parts.size() << ' ' << CpuSeconds() - start_s << '\n';
    if (pass == 0) first = std::move(parts);
  }

  const std::vector<size_t> periodic = all("periodic");
  std::ofstream output(argv[2], std::ios::binary);
  for (Parts& parts : first) {
    for (size_t i = 0; i < parts.size(); ++i) {
      if (i < periods.size() && periodic[i] != 0) AverageOverCycle(parts[i], periods[i]);
      output.write(reinterpret_cast<const char*>(parts[i].data()),
                   static_cast<std::streamsize>(steps * sizeof(float)));
    }
  }
}
