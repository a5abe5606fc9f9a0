// The part of ONNX Runtime's binary interface for custom operators that we use. The interface only grows: a function
// keeps its place in the table, and a structure its leading members (documented in onnxruntime_c_api.h, MIT licence).
// Written down here so that building takes a compiler and nothing else.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace ort {

struct Status;
struct Value;
struct Info;
struct Context;
struct Shape;
struct Domain;
struct SessionOptions;

constexpr uint32_t VERSION = 11;  // of the interface that we ask for: ONNX Runtime 1.11 and newer
constexpr int FAIL = 1, FLOAT = 1;  // an error code; an element type

// Places in the table that `Base::table` returns.
enum Slot {
    CREATE_STATUS = 0,
    CREATE_DOMAIN = 26,
    ADD_OPERATOR = 27,
    ADD_DOMAIN = 28,
    DATA = 51,
    RANK = 61,
    DIMENSIONS = 62,
    SHAPE = 65,
    FLOAT_ATTRIBUTE = 85,
    INTEGER_ATTRIBUTE = 86,
    INPUT = 90,
    OUTPUT = 91,
    RELEASE_SHAPE = 99,
};

struct Api {
    void* slots[102];

    template <typename... Arguments>
    Status* call(Slot slot, Arguments... arguments) const {
        return reinterpret_cast<Status* (*)(Arguments...)>(slots[slot])(arguments...);
    }
};

struct Base {
    const Api* (*table)(uint32_t version);
    const char* (*version)();
};

// How the runtime sees an operator; members beyond `output_required` belong to versions that we do not ask for.
struct Operator {
    uint32_t version;
    void* (*create)(const Operator*, const Api*, const Info*);
    const char* (*name)(const Operator*);
    const char* (*provider)(const Operator*);
    int (*input_type)(const Operator*, size_t);
    size_t (*inputs)(const Operator*);
    int (*output_type)(const Operator*, size_t);
    size_t (*outputs)(const Operator*);
    void (*compute)(void*, Context*);
    void (*destroy)(void*);
    int (*input_required)(const Operator*, size_t);
    int (*output_required)(const Operator*, size_t);
    void* later[24];
};

// A tensor of floats of at most four dimensions; missing ones are 1.
struct Tensor {
    float* data = nullptr;
    size_t rank = 0;
    int64_t dims[4] = {1, 1, 1, 1};
};

inline Tensor input(const Api& api, Context* context, size_t index) {
    Tensor tensor;
    const Value* value = nullptr;
    Shape* shape = nullptr;
    api.call(INPUT, const_cast<const Context*>(context), index, &value);
    api.call(DATA, const_cast<Value*>(value), reinterpret_cast<void**>(&tensor.data));
    api.call(SHAPE, value, &shape);
    api.call(RANK, const_cast<const Shape*>(shape), &tensor.rank);
    api.call(DIMENSIONS, const_cast<const Shape*>(shape), static_cast<int64_t*>(tensor.dims), tensor.rank);
    api.call(RELEASE_SHAPE, shape);
    return tensor;
}

inline float* output(const Api& api, Context* context, size_t index, const int64_t* dims, size_t rank) {
    Value* value = nullptr;
    void* data = nullptr;
    api.call(OUTPUT, context, index, dims, rank, &value);
    api.call(DATA, value, &data);
    return static_cast<float*>(data);
}

inline int64_t integer(const Api& api, const Info* info, const char* name) {
    int64_t value = 0;
    api.call(INTEGER_ATTRIBUTE, info, name, &value);
    return value;
}

inline float number(const Api& api, const Info* info, const char* name) {
    float value = 0;
    api.call(FLOAT_ATTRIBUTE, info, name, &value);
    return value;
}

}  // namespace ort
