#include "train/run_state.h"

namespace espalier {

bool RunState::possible(int64_t steps_an_epoch) const {
  const auto epochs = static_cast<int64_t>(history.size());
  return epoch == epochs && step >= 0 && step_in_epoch >= 0 && step_in_epoch <= steps_an_epoch &&
         best_epoch >= -1 && best_epoch < epochs && (best_epoch < 0 || history[best_epoch].metric);
}

Json metric_to_json(const MetricResult& m) {
  return {{"name", m.name}, {"value", m.value},     {"low", m.low},
          {"high", m.high}, {"samples", m.samples}, {"loss", m.loss}};
}

namespace {

MetricResult metric_from_json(const Json& j) {
  MetricResult m;
  m.name = j.at("name");
  m.value = j.at("value");
  m.low = j.at("low");
  m.high = j.at("high");
  m.samples = j.at("samples");
  m.loss = j.at("loss");
  return m;
}

Json to_json(const EpochReport& e) {
  return {{"epoch", e.epoch}, {"steps", e.steps},
          {"loss", e.loss},   {"rate", e.rate},
          {"best", e.best},   {"metric", e.metric ? metric_to_json(*e.metric) : Json(nullptr)}};
}

EpochReport epoch_from_json(const Json& j) {
  EpochReport e;
  e.epoch = j.at("epoch");
  e.steps = j.at("steps");
  e.loss = j.at("loss");
  e.rate = j.at("rate");
  e.best = j.at("best");
  if (!j.at("metric").is_null()) e.metric = metric_from_json(j.at("metric"));
  return e;
}

}  // namespace

Json to_json(const RunState& s) {
  Json history = Json::array();
  for (const EpochReport& e : s.history) history.push_back(to_json(e));
  return {{"epoch", s.epoch},
          {"step", s.step},
          {"step_in_epoch", s.step_in_epoch},
          {"loss_sum", s.loss_sum},
          {"finished", s.finished},
          {"stopped_early", s.stopped_early},
          {"best_epoch", s.best_epoch},
          {"early_stop",
           {{"started", s.early_stop.started}, {"best", s.early_stop.best}, {"waited", s.early_stop.waited}}},
          {"history", history}};
}

RunState run_state_from_json(const Json& j) {
  RunState s;
  s.epoch = j.at("epoch");
  s.step = j.at("step");
  s.step_in_epoch = j.at("step_in_epoch");
  s.loss_sum = j.at("loss_sum");
  s.finished = j.at("finished");
  s.stopped_early = j.at("stopped_early");
  s.best_epoch = j.at("best_epoch");
  const Json& stop = j.at("early_stop");
  s.early_stop = {stop.at("started"), stop.at("best"), stop.at("waited")};
  for (const Json& e : j.at("history")) s.history.push_back(epoch_from_json(e));
  return s;
}

}  // namespace espalier
