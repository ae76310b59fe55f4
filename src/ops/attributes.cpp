#include "ops/attributes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "kernels/activation.h"
#include "kernels/conv_shape.h"
#include "ops/op.h"

namespace espalier {

namespace {

struct Writer final : AttributeVisitor {
  Json json = Json::object();
  void visit(const char* name, int& v) override { json[name] = v; }
  void visit(const char* name, float& v) override { json[name] = v; }
  void visit(const char* name, bool& v) override { json[name] = v; }
  void visit(const char* name, std::string& v) override { json[name] = v; }
  void visit(const char* name, std::array<int, 4>& v) override { json[name] = v; }
  void visit(const char* name, std::vector<float>& v) override { json[name] = v; }
  void visit(const char* name, std::vector<int>& v) override { json[name] = v; }
};

// get() takes one type for another and cuts off what does not fit.
bool fits(const Json& j, bool) { return j.is_boolean(); }
bool fits(const Json& j, const std::string&) { return j.is_string(); }
bool fits(const Json& j, int) { return json_integer(j).has_value(); }
bool fits(const Json& j, float) {
  return j.is_number() && std::abs(j.get<double>()) <= std::numeric_limits<float>::max();
}
template <class T>
bool fits(const Json& j, const std::vector<T>&) {
  return j.is_array() && std::all_of(j.begin(), j.end(), [](const Json& entry) { return fits(entry, T()); });
}
bool fits(const Json& j, const std::array<int, 4>& sides) {
  return j.size() == sides.size() && fits(j, std::vector<int>());
}

struct Reader final : AttributeVisitor {
  const Json& json;
  std::string op;
  std::set<std::string> seen;

  Reader(const Json& json, std::string op) : json(json), op(std::move(op)) {}

  template <class T>
  void read(const char* name, T& value) {
    seen.insert(name);
    ESPALIER_CHECK(json.contains(name), op, ": attribute '", name, "' is missing");
    ESPALIER_CHECK(fits(json.at(name), value), op, ": attribute '", name, "' is ", json.at(name).dump(),
                   ", which has the wrong type or lies outside of it");
    value = json.at(name).get<T>();
  }
  void visit(const char* name, int& v) override { read(name, v); }
  void visit(const char* name, float& v) override { read(name, v); }
  void visit(const char* name, bool& v) override { read(name, v); }
  void visit(const char* name, std::string& v) override { read(name, v); }
  void visit(const char* name, std::array<int, 4>& v) override { read(name, v); }
  void visit(const char* name, std::vector<float>& v) override { read(name, v); }
  void visit(const char* name, std::vector<int>& v) override { read(name, v); }
};

}  // namespace

void visit_activation(AttributeVisitor& v, Activation& act) {
  v.visit("slope", act.slope);
  v.visit("cap", act.cap);
}

void visit_padding(AttributeVisitor& v, Padding& pad) {
  std::array<int, 4> sides{pad.top, pad.left, pad.bottom, pad.right};
  v.visit("pad", sides);
  pad = {sides[0], sides[1], sides[2], sides[3]};
}

Json attributes_to_json(const Op& op) {
  Writer writer;
  const_cast<Op&>(op).attributes(writer);  // a visitor that only reads: one function serves both directions
  return writer.json;
}

void attributes_from_json(Op& op, const Json& json) {
  Reader reader(json, op.name());
  op.attributes(reader);
  for (const auto& [key, value] : json.items())
    ESPALIER_CHECK(reader.seen.contains(key), op.name(), ": unknown attribute '", key, "'");
}

}  // namespace espalier
