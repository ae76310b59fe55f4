#include <spdlog/fmt/fmt.h>

#include "base/progress.h"
#include "train/loop.h"

namespace espalier {

TrainCallbacks show_progress(const Task& task, const TrainOptions& options) {
  struct Shown {
    std::unique_ptr<Progress> bar;
    std::string metric;
  };
  auto shown = std::make_shared<Shown>();
  TrainCallbacks callbacks;
  callbacks.on_step = [shown, epochs = options.epochs](const StepReport& s) {
    const std::string title = fmt::format("epoch {}/{}", s.epoch + 1, epochs);
    if (!shown->bar) shown->bar = std::make_unique<Progress>(title, s.steps_per_epoch);
    shown->bar->set_title(title);
    std::string text = fmt::format("loss {:.4f}{}  lr {:.3g}  {:.0f} images/s", s.mean_loss, shown->metric,
                                   s.rate, s.images_per_second);
    if (s.loader_wait > 0.05) text += fmt::format(" ({:.0f} % waiting for pictures)", 100 * s.loader_wait);
    text += "  " + Progress::duration(s.seconds_left) + " left";
    shown->bar->update(s.step_in_epoch, text);
  };
  callbacks.on_epoch = [shown, name = std::string(task.metric_name()),
                        epochs = options.epochs](const EpochReport& e) {
    if (e.metric) shown->metric = fmt::format("  {} {:.2f} %", name, 100 * e.metric->value);
    if (e.epoch + 1 == epochs) shown->bar.reset();
  };
  return callbacks;
}

}  // namespace espalier
