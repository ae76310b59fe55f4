#include "io/onnx.h"

#include "base/error.h"

#ifndef ESPALIER_HAS_ONNX

namespace espalier {

void check_onnx_is_built() {
  fail(
      "this program was built without ONNX; install its headers (libonnx-dev, libprotobuf-dev) and build "
      "with -DESPALIER_ONNX=ON");
}

OnnxSummary save_onnx(const std::filesystem::path&, const Model&, const OnnxOptions&) {
  check_onnx_is_built();
  return {};
}

}  // namespace espalier

#else

#include <onnx/onnx_pb.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/version.h"
#include "io/file.h"
#include "ops/onnx_nodes.h"
#include "passes/quantize.h"

namespace espalier {

namespace {

// Of 2020, which every runtime reads; the first operators with a scale for each channel.
constexpr int kOperators = 13, kFormat = 7;
constexpr const char* kOpenExtent = "N";

onnx::TensorProto::DataType type_of(DType type) {
  switch (type) {
    case DType::kF32:
      return onnx::TensorProto::FLOAT;
    case DType::kS8:
      return onnx::TensorProto::INT8;
    case DType::kU8:
      return onnx::TensorProto::UINT8;
    case DType::kS32:
      return onnx::TensorProto::INT32;
    case DType::kBF16:
      break;
  }
  fail("onnx: a tensor is bf16, which only a running training or session has");
}

/// Extents in the file's order, the first left to whoever runs it where `batch` is 0.
std::vector<std::string> extents(const Shape& s, int batch) {
  std::vector<std::string> shape = {batch > 0 ? std::to_string(batch) : kOpenExtent};
  for (const int axis : s.axes() == 4 ? std::vector<int>{3, 1, 2} : std::vector<int>{1})
    shape.push_back(std::to_string(s[axis]));
  return shape;
}

void add_port(onnx::ValueInfoProto* to, const OnnxPort& port, onnx::TensorProto::DataType type) {
  to->set_name(port.name);
  auto* tensor = to->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(type);
  for (const std::string& extent : port.shape) {
    auto* dim = tensor->mutable_shape()->add_dim();
    if (extent == kOpenExtent)
      dim->set_dim_param(extent);
    else
      dim->set_dim_value(std::stoi(extent));
  }
}

/// Puts a graph's items into a file, one after another.
class Writer final : public OnnxNodes {
 public:
  Writer(const Graph& graph, onnx::GraphProto& to, const OnnxOptions& options)
      : graph_(graph), to_(to), options_(options), values_(graph.values.size()) {}

  OnnxSummary write() {
    ESPALIER_CHECK(graph_.inputs.size() == 1, "onnx: the network has ", graph_.inputs.size(),
                   " inputs; one is needed, pictures");
    const Shape& pictures = graph_.values[graph_.inputs[0]].meta.shape;
    ESPALIER_CHECK(pictures.axes() == 4 && pictures[3] == 3, "onnx: the network's input is ", pictures,
                   "; it must be [N,H,W,3]");
    OnnxSummary summary;
    summary.input = write_input(pictures);
    for (const Graph::Item& item : graph_.items) {
      item_ = &item;
      prefix_ = item.name;
      item.op->to_onnx(*this);
    }
    for (size_t i = 0; i < graph_.outputs.size(); ++i)
      summary.outputs.push_back(write_output(
          graph_.outputs[i], graph_.outputs.size() == 1 ? std::string("output") : str("output_", i)));
    summary.nodes = to_.node_size();
    return summary;
  }

  int inputs() const override { return static_cast<int>(item_->in.size()); }
  const Meta& meta(int input) const override { return graph_.values[value(input)].meta; }
  const Meta& out_meta() const override { return graph_.values[item_->out[0]].meta; }
  const Tensor& parameter(int input) const override {
    const Tensor& t = graph_.values[value(input)].param;
    ESPALIER_CHECK(t.defined(), item_->name, ": input ", input, " is computed; ONNX needs it as a constant");
    return t;
  }
  Name in(int input) override { return real(value(input)); }
  float scale(int input) const override { return values_[value(input)].scale; }

  Name constant(const char* what, const Tensor& values) override {
    std::vector<int64_t> dims;
    for (const int extent : values.shape().vector()) dims.push_back(extent);
    return add_constant(what, type_of(values.dtype()), dims, values.data(),
                        static_cast<size_t>(values.bytes()));
  }
  Name number(const char* what, float value) override {
    return add_constant(what, onnx::TensorProto::FLOAT, {}, &value, sizeof value);
  }
  Name integers(const char* what, const std::vector<int64_t>& values) override {
    return add_constant(what, onnx::TensorProto::INT64, {static_cast<int64_t>(values.size())}, values.data(),
                        values.size() * sizeof(int64_t));
  }

  Name node(const char* type, const std::vector<Name>& inputs,
            const std::vector<Attribute>& attributes) override {
    onnx::NodeProto* node = to_.add_node();
    Name name = unique(prefix_ + "/" + type);
    node->set_name(name);
    node->set_op_type(type);
    for (const Name& input : inputs) node->add_input(input);
    node->add_output(name);
    for (const Attribute& attribute : attributes) add_attribute(node->add_attribute(), attribute);
    return name;
  }

  void out(const Name& real) override { values_[item_->out[0]] = {.real = real}; }

  void out_codes(const Name& real, float scale) override {
    const int v = item_->out[0];
    const Tensor zero = Tensor::zeros(Shape{}, Device::kCpu, graph_.values[v].meta.dtype);
    Written w = {.scale = scale, .scale_name = number("scale", scale), .zero_name = constant("zero", zero)};
    w.codes = node("QuantizeLinear", {real, w.scale_name, w.zero_name}, {});
    values_[v] = w;
  }

 private:
  /// An activation in the file: as real numbers, once somebody asked for them, and as codes where it has
  /// them.
  struct Written {
    Name real, codes;
    float scale = 0;
    Name scale_name, zero_name;
  };

  int value(int input) const { return item_->in[static_cast<size_t>(input)]; }

  Name unique(const Name& wanted) {
    Name name = wanted;
    for (int i = 2; !names_.insert(name).second; ++i) name = str(wanted, '_', i);
    return name;
  }

  Name real(int v) {
    Written& w = values_[v];
    if (w.real.empty()) {
      ESPALIER_CHECK(!w.codes.empty(), "onnx: value ", graph_.values[v].name, " is read before it is made");
      w.real = node("DequantizeLinear", {w.codes, w.scale_name, w.zero_name}, {});
    }
    return w.real;
  }

  Name add_constant(const char* what, onnx::TensorProto::DataType type, const std::vector<int64_t>& dims,
                    const void* data, size_t bytes) {
    onnx::TensorProto* tensor = to_.add_initializer();
    Name name = unique(prefix_ + "." + what);
    tensor->set_name(name);
    tensor->set_data_type(type);
    for (const int64_t extent : dims) tensor->add_dims(extent);
    tensor->set_raw_data(data, bytes);
    return name;
  }

  static void add_attribute(onnx::AttributeProto* to, const Attribute& attribute) {
    to->set_name(attribute.name);
    if (const auto* i = std::get_if<int64_t>(&attribute.value)) {
      to->set_type(onnx::AttributeProto::INT);
      to->set_i(*i);
    } else if (const auto* f = std::get_if<float>(&attribute.value)) {
      to->set_type(onnx::AttributeProto::FLOAT);
      to->set_f(*f);
    } else if (const auto* s = std::get_if<std::string>(&attribute.value)) {
      to->set_type(onnx::AttributeProto::STRING);
      to->set_s(*s);
    } else {
      to->set_type(onnx::AttributeProto::INTS);
      for (const int64_t each : std::get<std::vector<int64_t> >(attribute.value)) to->add_ints(each);
    }
  }

  OnnxPort write_input(const Shape& pictures) {
    OnnxPort port{.name = "images", .type = "float32", .shape = extents(pictures, options_.batch)};
    if (options_.pixels) {
      port = {.name = "pixels",
              .type = "uint8",
              .shape = {port.shape[0], port.shape[2], port.shape[3], port.shape[1]}};
    }
    names_.insert(port.name);
    add_port(to_.add_input(), port, options_.pixels ? onnx::TensorProto::UINT8 : onnx::TensorProto::FLOAT);
    values_[graph_.inputs[0]].real = options_.pixels ? normalised(port.name) : port.name;
    return port;
  }

  Name normalised(const Name& pixels) {
    prefix_ = "normalize";
    const auto channels = [this](const char* what, const float* values) {
      return constant(what, Tensor::from(std::span(values, 3), {1, 3, 1, 1}));
    };
    Name x = node("Cast", {pixels}, {{"to", int64_t{onnx::TensorProto::FLOAT}}});
    x = node("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 3, 1, 2}}});
    x = node("Mul", {x, channels("scale", options_.pixels->scale)}, {});
    return node("Add", {x, channels("shift", options_.pixels->shift)}, {});
  }

  /// Calls the value by the port's name; one that has a name of its own already gets the port's beside it.
  OnnxPort write_output(int v, const std::string& name) {
    const Shape& shape = graph_.values[v].meta.shape;
    ESPALIER_CHECK(shape.axes() == 2 || shape.axes() == 4, "onnx: output ", name, " is ", shape,
                   "; it must be [N,C] or [N,H,W,C]");
    prefix_ = name;
    names_.insert(name);
    const Name old = real(v);
    const auto makes_it = [&](const onnx::NodeProto& node) { return node.output(0) == old; };
    const auto is_port = [&](const onnx::ValueInfoProto& port) { return port.name() == old; };
    const auto& nodes = to_.node();
    if (std::none_of(nodes.begin(), nodes.end(), makes_it) ||
        std::any_of(to_.output().begin(), to_.output().end(), is_port)) {
      onnx::NodeProto* node = to_.add_node();
      node->set_name(name);
      node->set_op_type("Identity");
      node->add_input(old);
      node->add_output(name);
    } else {
      rename(old, name);
    }
    OnnxPort port{.name = name, .type = "float32", .shape = extents(shape, options_.batch)};
    add_port(to_.add_output(), port, onnx::TensorProto::FLOAT);
    return port;
  }

  void rename(const Name& old, const Name& name) {
    for (onnx::NodeProto& node : *to_.mutable_node()) {
      for (std::string& input : *node.mutable_input())
        if (input == old) input = name;
      if (node.output(0) == old) node.set_output(0, name);
    }
    for (Written& w : values_)
      if (w.real == old) w.real = name;
  }

  const Graph& graph_;
  onnx::GraphProto& to_;
  const OnnxOptions& options_;
  std::vector<Written> values_;  ///< by the graph's value
  std::set<Name> names_;
  const Graph::Item* item_ = nullptr;
  std::string prefix_;  ///< of the names of nodes and constants
};

bool is_int8(const Graph& graph) {
  return std::any_of(graph.values.begin(), graph.values.end(),
                     [](const Graph::Value& v) { return v.meta.dtype != DType::kF32; });
}

void add_metadata(const Model& model, const OnnxOptions& options, onnx::ModelProto& to) {
  const std::map<std::string, std::string> all = {{"espalier.task", model.task},
                                                  {"espalier.labels", Json(model.labels).dump()},
                                                  {"espalier.preprocessing", model.preprocessing.dump()},
                                                  {"espalier.decoding", options.decoding.dump()},
                                                  {"espalier.task_options", model.task_options.dump()},
                                                  {"espalier.architecture", model.architecture.dump()},
                                                  {"espalier.metrics", model.metrics.dump()},
                                                  {"espalier.lineage", model.lineage.dump()}};
  for (const auto& [key, value] : all) {
    auto* entry = to.add_metadata_props();
    entry->set_key(key);
    entry->set_value(value);
  }
}

}  // namespace

void check_onnx_is_built() {}

OnnxSummary save_onnx(const std::filesystem::path& path, const Model& model, const OnnxOptions& options) {
  ESPALIER_CHECK(options.batch >= 0, "onnx: batch is ", options.batch, "; it cannot be negative");
  const Graph graph = is_int8(model.graph) ? model.graph.to(Device::kCpu)
                                           : prepare_for_quantization(model.graph.to(Device::kCpu));
  onnx::ModelProto file;
  file.set_ir_version(kFormat);
  file.set_producer_name("espalier");
  file.set_producer_version(kVersion);
  auto* operators = file.add_opset_import();
  operators->set_domain("");
  operators->set_version(kOperators);
  file.mutable_graph()->set_name(model.task.empty() ? "network" : model.task);
  OnnxSummary summary = Writer(graph, *file.mutable_graph(), options).write();
  add_metadata(model, options, file);
  write_atomically(path, file.SerializeAsString());
  return summary;
}

}  // namespace espalier

#endif
