#pragma once
// Memory for pictures, which come and go by the megabyte: each thread keeps a few blocks for its next ones,
// because fresh pages from the system cost more than much of what is done with them, and all threads wait
// for each other there.

#include <cstddef>
#include <new>
#include <utility>

namespace espalier {

/// At least so many bytes; large ones from what this thread has kept. Throws std::bad_alloc.
void* take_pixels(size_t bytes);
/// To be kept by this thread, whichever took it.
void give_pixels(void* pixels, size_t bytes);

/// While one lives, this thread takes fresh memory of just the size: for what stays.
class ExactPixels {
 public:
  ExactPixels();
  ~ExactPixels();
  ExactPixels(const ExactPixels&) = delete;
  ExactPixels& operator=(const ExactPixels&) = delete;
};

/// For std::vector; elements without a value are left as they are.
template <class T>
struct PixelAllocator {
  using value_type = T;
  PixelAllocator() = default;
  template <class U>
  PixelAllocator(const PixelAllocator<U>&) {}
  T* allocate(size_t count) { return static_cast<T*>(take_pixels(count * sizeof(T))); }
  void deallocate(T* pixels, size_t count) { give_pixels(pixels, count * sizeof(T)); }
  template <class U, class... Args>
  void construct(U* at, Args&&... args) {
    if constexpr (sizeof...(args) == 0)
      ::new (static_cast<void*>(at)) U;
    else
      ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
  }
  bool operator==(const PixelAllocator&) const = default;
};

}  // namespace espalier
