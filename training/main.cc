// The `foreshadow` command: one function a command, each in its own folder.
#include <CLI/CLI.hpp>

#include "training/backtest/backtest_command.h"
#include "training/bench/bench.h"
#include "training/client/call_load.h"
#include "training/client/commands.h"
#include "training/cloudsim/cloudsim_command.h"
#include "training/command.h"
#include "training/decompose/decompose.h"
#include "training/demo/demo.h"
#include "training/forecast/forecast.h"
#include "training/history/history_command.h"
#include "training/import/import.h"
#include "training/model/model_command.h"
#include "training/patterns/patterns.h"
#include "training/replay/replay_command.h"
#include "training/router/evaluate_command.h"
#include "training/simulate/simulate.h"
#include "training/synth/synth.h"
#include "training/train/train_command.h"

int main(int argc, char** argv) {
  CLI::App app{
      "Foreshadow: predictive migration for cell-based clouds.\n"
      "Exit code 0: done; 1: failed, stderr says why; 2: wrong usage.",
      "foreshadow"};
  app.set_version_flag("--version", "foreshadow " FORESHADOW_VERSION);
  app.require_subcommand(1);
  foreshadow::training::AddDemo(app);
  foreshadow::training::AddClientCommands(app);
  foreshadow::training::AddCallLoad(app);
  foreshadow::training::AddImport(app);
  foreshadow::training::AddHistory(app);
  foreshadow::training::AddSynth(app);
  foreshadow::training::AddDecompose(app);
  foreshadow::training::AddPatterns(app);
  foreshadow::training::AddForecast(app);
  foreshadow::training::AddBacktest(app);
  foreshadow::training::AddTrain(app);
  foreshadow::training::router::AddEvaluate(app);
  foreshadow::training::AddModelCommand(app);
  foreshadow::training::AddSimulate(app);
  foreshadow::training::cloudsim::AddCloudsim(app);
  foreshadow::training::AddReplayCommand(app);
  foreshadow::training::AddBench(app);

  try {
    app.parse(argc, argv);
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();  // the command has said what went wrong
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : foreshadow::training::kExitUsage;
  }
  return 0;
}
