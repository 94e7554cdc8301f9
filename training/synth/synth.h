// `foreshadow synth`: writes a made-up fleet as a trace, with its truth and its cells.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training {

void AddSynth(CLI::App& app);

}  // namespace foreshadow::training
