// What each operator offers to `register.cc`.
#pragma once
#include <stdlib.h>

#include "ort_abi.h"

extern const ort::Operator DEPTHWISE_CONV, DEPTHWISE_INPUT_GRADIENT, DEPTHWISE_FILTER_GRADIENT, BATCH_NORM_GRADIENT;

struct Here {};  // <new> belongs to the C++ runtime
inline void* operator new(size_t, void* memory, Here) { return memory; }

// An operator with a class of kernels: constructed of (api, info), computing in `run(context)`.
template <typename Kernel>
constexpr ort::Operator described() {
    ort::Operator op{};
    op.version = ort::VERSION;
    op.create = [](const ort::Operator*, const ort::Api* api, const ort::Info* info) -> void* {
        return new (malloc(sizeof(Kernel)), Here{}) Kernel(*api, info);
    };
    op.name = [](const ort::Operator*) { return Kernel::NAME; };
    op.provider = [](const ort::Operator*) -> const char* { return nullptr; };  // the processor
    op.input_type = [](const ort::Operator*, size_t) { return ort::FLOAT; };
    op.inputs = [](const ort::Operator*) { return Kernel::INPUTS; };
    op.output_type = [](const ort::Operator*, size_t) { return ort::FLOAT; };
    op.outputs = [](const ort::Operator*) { return Kernel::OUTPUTS; };
    op.compute = [](void* kernel, ort::Context* context) { static_cast<Kernel*>(kernel)->run(context); };
    op.destroy = [](void* kernel) { free(kernel); };
    op.input_required = [](const ort::Operator*, size_t) { return 0; };
    op.output_required = [](const ort::Operator*, size_t) { return 0; };
    return op;
}
