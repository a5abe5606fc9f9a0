// Memory by the C library alone: without a C++ runtime the library is small, and loads everywhere.
#pragma once
#include <stdlib.h>

template <typename T>
struct Buffer {  // of zeros
    T* data;
    size_t size;

    explicit Buffer(size_t size) : data(static_cast<T*>(calloc(size, sizeof(T)))), size(size) {}
    ~Buffer() { free(data); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    T& operator[](size_t i) { return data[i]; }
};
