#pragma once
// Working memory of one thread, kept between calls.

#include <cstddef>
#include <cstdlib>
#include <new>

namespace espalier::kernels {

/// At least `count` floats, 64-byte aligned, contents undefined; valid until this thread's next call with the
/// same Tag.
template <class Tag>
float* scratch(size_t count) {
  struct Buffer {
    float* memory = nullptr;
    size_t size = 0;
    ~Buffer() { std::free(memory); }
  };
  thread_local Buffer buffer;
  if (buffer.size < count) {
    std::free(buffer.memory);
    buffer.size = (count + 1023) / 1024 * 1024;
    buffer.memory = static_cast<float*>(std::aligned_alloc(64, buffer.size * sizeof(float)));
    if (!buffer.memory) {
      buffer.size = 0;
      throw std::bad_alloc();
    }
  }
  return buffer.memory;
}

}  // namespace espalier::kernels
