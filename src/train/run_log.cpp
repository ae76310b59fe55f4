#include "train/run_log.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include "base/error.h"

namespace espalier {

void RunLog::open(const RunState& state) {
  const std::vector<std::string> columns = {
      "epoch",      "steps", "loss", "rate", metric_, "low", "high", "eval_loss", "images_per_second",
      "loader_wait"};
  const int64_t first_new_row = static_cast<int64_t>(state.history.size()) + 1;
  table_ = std::make_unique<CsvTable>(options_.folder / "epochs.csv", columns, first_new_row);
  if (options_.tensorboard)
    events_ = std::make_unique<TensorBoardWriter>(options_.folder / "tensorboard", state.step);
}

void RunLog::step(const StepReport& s) {
  if (!events_) return;
  events_->scalar("train/loss", s.step, s.loss);
  events_->scalar("train/rate", s.step, s.rate);
  events_->scalar("train/gradient_norm", s.step, s.gradient_norm);
  events_->scalar("train/images_per_second", s.step, s.images_per_second);
  events_->scalar("train/loader_wait", s.step, s.loader_wait);
}

void RunLog::epoch(const EpochReport& e, const StepClock& clock) {
  const double speed = clock.total_images_per_second(), wait = clock.total_loader_wait();
  if (table_) {
    const auto number = [](double value) { return fmt::format("{:.9g}", value); };
    std::vector<std::string> cells = {std::to_string(e.epoch + 1), std::to_string(e.steps), number(e.loss),
                                      number(e.rate)};
    if (e.metric)
      for (const double value : {e.metric->value, e.metric->low, e.metric->high, e.metric->loss})
        cells.push_back(number(value));
    cells.resize(8);
    cells.push_back(number(speed));
    cells.push_back(number(wait));
    table_->add(cells);
  }
  if (events_) events_->scalar("epoch/loss", e.steps, e.loss);
  if (events_ && e.metric) {
    events_->scalar("eval/" + metric_, e.steps, e.metric->value);
    events_->scalar("eval/loss", e.steps, e.metric->loss);
  }
  std::string text =
      fmt::format("epoch {}/{}: loss {:.4f}, lr {:.3g}", e.epoch + 1, options_.epochs, e.loss, e.rate);
  if (e.metric)
    text += fmt::format(", {} {:.2f} % ({:.1f}-{:.1f}){}", metric_, 100 * e.metric->value,
                        100 * e.metric->low, 100 * e.metric->high, e.best ? ", the best so far" : "");
  text += fmt::format(", {:.0f} images/s", speed);
  if (wait > 0.05) text += fmt::format(", {:.0f} % of the time waiting for pictures", 100 * wait);
  spdlog::info("{}", text);
}

}  // namespace espalier
