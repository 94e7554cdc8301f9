// The page of a study: one HTML file, tables first, pictures by gnuplot inside.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_replace.h"
#include "training/io/gnuplot.h"
#include "training/io/text_writer.h"
#include "training/simulate/report.h"
#include "training/simulate/summary.h"

namespace foreshadow::training {
namespace {

std::string Html(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

// The SVG that gnuplot draws, without what comes before its root.
absl::StatusOr<std::string> Draw(const std::string& script) {
  const auto path =
      std::filesystem::temp_directory_path() / fmt::format("foreshadow-simulate-{}.svg", getpid());
  const absl::Status status = DrawPicture("--out", path.string(), 900, 420, script);
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  if (!status.ok()) return status;
  const std::string svg = text.str();
  const size_t root = svg.find("<svg");
  return root == std::string::npos ? svg : svg.substr(root);
}

std::string TableOf(const std::vector<Row>& rows) {
  std::string html =
      "<table><tr><th>policy<th>headroom<th>create min<th>budget<th>cost J<th>skill (95 %)"
      "<th>U %<th>OM<th>OM90<th>AOM<th>tail %<th>episode p99 min<th>SH %<th>moves<th>PP %<th>FP %"
      "<th>REC, of foreseeable %<th>REL, of foreseeable %<th>lead p10 / p50 min<th>Brier, ECE 15 "
      "min"
      "<th>Brier, ECE 60 min<th>slowdown mean / p99<th>SLATAH %<th>PDM %<th>energy kWh<th>ESV "
      "kWh</tr>\n";
  for (const Row& r : rows) {
    html += fmt::format(
        "<tr><td>{}<td>{:.2f}<td>{:.0f}<td>{}<td>{:.1f}<td>{:.2f} ({:.2f}, "
        "{:.2f})<td>{:.3f}<td>{:.1f}"
        "<td>{:.1f}<td>{:.1f}<td>{:.2f}<td>{:.0f}<td>{:.2f}<td>{:.1f}<td>{:.1f}<td>{:.0f}<td>{:.0f}"
        ", {:.0f}<td>{:.0f}, {:.0f}<td>{:.0f} / {:.0f}<td>{:.4f}, {:.4f}<td>{:.4f}, "
        "{:.4f}<td>{:.2f} / {:.1f}"
        "<td>{:.2f}<td>{:.4f}<td>{:.1f}<td>{:.3g}</tr>\n",
        Html(r.policy), r.setting.headroom, static_cast<double>(r.setting.create_ms) / 60'000,
        r.setting.creations_per_tick, r.cost, r.skill.median, r.skill.low, r.skill.high,
        r.unserved_percent, r.overload_min, r.nearly_min, r.account_overload_min, r.tail_percent,
        r.episode_p99_min, r.shadow_percent, r.moves, r.ping_pong_percent, r.false_percent,
        r.recall.percent(), r.recall.of_foreseeable_percent(), r.relief.percent(),
        r.relief.of_foreseeable_percent(), r.lead_p10_min, r.lead_p50_min, r.within_15.brier(),
        r.within_15.ece(), r.within_60.brier(), r.within_60.ece(), r.slowdown_mean, r.slowdown_p99,
        r.time_over_full_percent, r.copy_degradation_percent, r.energy_kwh, r.esv);
  }
  return html + "</table>\n";
}

std::string Frontier(const std::vector<Row>& rows, double headroom) {
  std::string data = "$points << EOD\n";
  for (const Row& r : rows) {
    if (r.setting.headroom != headroom) continue;
    data += fmt::format("{:.6g} {:.6g} \"{}\"\n", r.shadow_percent, r.unserved_percent, r.policy);
  }
  return data + fmt::format(
                    "EOD\nset title 'Demand not served against shadows, headroom {:.2f}'\n"
                    "set xlabel 'shadow core-hours, % of demand'\n"
                    "set ylabel 'demand not served, %'\nset grid\nset offsets graph 0.05, graph "
                    "0.15, graph 0.08, graph 0.08\n"
                    "plot $points using 1:2 with points pointtype 7 notitle, $points using 1:2:3 "
                    "with labels left offset 0.7,0.3 noenhanced notitle\n",
                    headroom);
}

std::string Costs(const std::vector<Row>& rows, double headroom) {
  std::string data = "$costs << EOD\n";
  for (const Row& r : rows) {
    if (r.setting.headroom == headroom) data += fmt::format("\"{}\" {:.6g}\n", r.policy, r.cost);
  }
  return data + fmt::format(
                    "EOD\nset title 'Cost J, headroom {:.2f}'\nset style fill solid 0.6\n"
                    "set boxwidth 0.7\nset yrange [0:*]\nset xtics rotate by -40 noenhanced\n"
                    "set grid ytics\nplot $costs using 2:xtic(1) with boxes notitle\n",
                    headroom);
}

std::string Diagram(const std::vector<Row>& rows, const std::string& policy) {
  Reliability within_15;
  Reliability within_60;
  for (const Row& r : rows) {
    if (r.policy != policy) continue;
    within_15.Add(r.within_15);
    within_60.Add(r.within_60);
  }
  std::string data;
  for (const auto& [name, reliability] :
       {std::pair{"$quarter", &within_15}, std::pair{"$hour", &within_60}}) {
    data += fmt::format("{} << EOD\n", name);
    for (size_t b = 0; b < reliability->count.size(); ++b) {
      const auto n = static_cast<double>(reliability->count[b]);
      if (n > 0) {
        data += fmt::format("{:.6g} {:.6g}\n", reliability->said[b] / n, reliability->came[b] / n);
      }
    }
    data += "EOD\n";
  }
  return data +
         fmt::format(
             "set title 'When {} says so, how often it came' noenhanced\nset xrange [0:1]\n"
             "set yrange [0:1]\nset grid\nset key left\nset xlabel 'said'\n"
             "set ylabel 'came'\nplot x with lines dashtype 2 title 'as said', $quarter with "
             "linespoints title 'within 15 min', $hour with linespoints title 'within 60 "
             "min'\n",
             policy);
}

}  // namespace

absl::Status WritePage(const ReportContext& context, const std::vector<WorldResult>& results,
                       const std::string& path) {
  const std::vector<Row> rows = Summarize(results);
  std::string html = fmt::format(
      "<!doctype html><meta charset=utf-8><title>foreshadow simulate</title><style>body{{font:14px "
      "sans-serif;margin:2em}}table{{border-collapse:collapse}}td,th{{padding:2px "
      "8px;text-align:right;border-bottom:1px solid "
      "#ddd}}td:first-child,th:first-child{{text-align:left}}</style>\n<h1>foreshadow "
      "simulate</h1>\n"
      "<p>{}: {} accounts, {} cells, {} steps of {} s, scored from step {} on.</p>\n<p>Constants "
      "{}: "
      "{}</p>\n",
      Html(fmt::format("{}", fmt::join(context.traces, ", "))), context.accounts, context.cells,
      context.steps, context.step_ms / 1'000, context.first_step, ConstantsHash(), ConstantsText());
  for (const std::string& note : context.notes) html += fmt::format("<p>{}</p>\n", Html(note));
  html += TableOf(rows);
  std::vector<double> headrooms;
  for (const Row& r : rows) {
    if (std::ranges::find(headrooms, r.setting.headroom) == headrooms.end()) {
      headrooms.push_back(r.setting.headroom);
    }
  }
  std::vector<std::string> scripts;
  for (const double headroom : headrooms) {
    scripts.push_back(Costs(rows, headroom));
    scripts.push_back(Frontier(rows, headroom));
  }
  const auto has = [&](const std::string& policy) {
    return std::ranges::find(rows, policy, &Row::policy) != rows.end();
  };
  scripts.push_back(Diagram(rows, has("foreshadow") ? "foreshadow" : rows[0].policy));
  for (const std::string& script : scripts) {
    const auto svg = Draw(script);
    if (!svg.ok()) return svg.status();
    html += *svg + "\n";
  }
  auto writer = TextWriter::Create(path);
  if (!writer.ok()) return writer.status();
  if (absl::Status s = writer->Write(html); !s.ok()) return s;
  return writer->Close();
}

}  // namespace foreshadow::training
