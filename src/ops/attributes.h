#pragma once
// How an op's attributes reach files, printouts and comparisons: one visitor, visited in declaration order.

#include <array>
#include <string>
#include <vector>

#include "base/json.h"

namespace espalier {

/// Receives every attribute of an op by name. Reading and writing are two visitors over the same function, so
/// an attribute cannot be saved and forgotten when loading.
class AttributeVisitor {
 public:
  virtual ~AttributeVisitor() = default;
  virtual void visit(const char* name, int& value) = 0;
  virtual void visit(const char* name, float& value) = 0;
  virtual void visit(const char* name, bool& value) = 0;
  virtual void visit(const char* name, std::string& value) = 0;
  virtual void visit(const char* name, std::array<int, 4>& value) = 0;
  virtual void visit(const char* name, std::vector<float>& value) = 0;
  virtual void visit(const char* name, std::vector<int>& value) = 0;
};

struct Op;
struct Activation;
struct Padding;

/// The two attribute types that several ops share: "slope" and "cap"; "pad" as top, left, bottom, right.
void visit_activation(AttributeVisitor& visitor, Activation& act);
void visit_padding(AttributeVisitor& visitor, Padding& pad);

/// {"stride": 2, ...}
Json attributes_to_json(const Op& op);
/// Strict: a missing, unknown or ill-typed key is an Error naming the op and the key.
void attributes_from_json(Op& op, const Json& json);

}  // namespace espalier
