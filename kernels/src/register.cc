// The door of the library. This file is compiled for any processor of the architecture: it has to say so where the
// others, which are compiled for newer ones, cannot run.
#include "operators.h"

namespace {

const ort::Operator* const OPERATORS[] = {
    &DEPTHWISE_CONV,
    &DEPTHWISE_INPUT_GRADIENT,
    &DEPTHWISE_FILTER_GRADIENT,
    &BATCH_NORM_GRADIENT,
};

const char* refusal() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return "this processor has no AVX2";
#endif
    return nullptr;
}

}  // namespace

extern "C" {

// Why the library cannot be used on this processor; null if it can.
__attribute__((visibility("default"))) const char* murmur_kernels_refusal() { return refusal(); }

// Grows with every change of an operator's name, inputs, attributes or outputs.
__attribute__((visibility("default"))) int murmur_kernels_version() { return MURMUR_KERNELS_VERSION; }

__attribute__((visibility("default"))) ort::Status* RegisterCustomOps(void* options, const ort::Base* base) {
    const ort::Api* api = base->table(ort::VERSION);
    if (const char* reason = refusal()) return api->call(ort::CREATE_STATUS, ort::FAIL, reason);
    static ort::Domain* domain = nullptr;  // one for all sessions: it has to outlive them
    if (domain == nullptr) {
        if (ort::Status* failure = api->call(ort::CREATE_DOMAIN, "murmur", &domain)) return failure;
        for (const ort::Operator* op : OPERATORS)
            if (ort::Status* failure = api->call(ort::ADD_OPERATOR, domain, op)) return failure;
    }
    return api->call(ort::ADD_DOMAIN, static_cast<ort::SessionOptions*>(options), domain);
}
}
