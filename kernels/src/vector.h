// Eight floats at once, in whatever registers the target has.
#pragma once
#include <string.h>

typedef float Lanes __attribute__((vector_size(32)));
constexpr int LANES = 8;

inline Lanes load(const float* from) {
    Lanes lanes;
    memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

inline void store(float* to, Lanes lanes) { memcpy(to, &lanes, sizeof lanes); }

inline Lanes all(float value) { return Lanes{} + value; }

inline float sum(Lanes a) { return ((a[0] + a[4]) + (a[1] + a[5])) + ((a[2] + a[6]) + (a[3] + a[7])); }
