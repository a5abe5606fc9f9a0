// The gradient of batch normalisation with the batch's statistics, and of the ReLU or clip after it.
//
// With dZ = dY where the activation lets it through, sums over a channel's n elements, and d = sqrt(variance + epsilon):
//
//     dbias   sum(dZ)
//     dscale  sum(dZ (X - mean)) / d
//     dX      (dZ - dbias / n - (X - mean) dscale / (n d)) scale / d
//
// Inputs: dY, the activation's judge J, X (N, C, H, W), scale, mean, variance (C,). Outputs: dX, dscale, dbias. `mask`:
// 0 for none (J is not read), 1 for J > low, 2 for low <= J <= high.
#include <math.h>

#include "operators.h"
#include "vector.h"

namespace {

struct Channel {
    const float *dy, *judge, *x;
    float* dx;
    int64_t samples, stride, size;  // a plane of `size` elements every `stride`
    float low, high, mean;
};

template <int MASK>
inline float through(const Channel& c, float dy, float judge) {
    if (MASK == 1) return judge > c.low ? dy : 0.0f;
    if (MASK == 2) return judge >= c.low && judge <= c.high ? dy : 0.0f;
    return dy;
}

template <int MASK>
inline Lanes through(const Channel& c, Lanes dy, const float* judge) {
    if (MASK == 1) return load(judge) > all(c.low) ? dy : Lanes{};
    if (MASK == 2) {
        Lanes values = load(judge);
        return ((values >= all(c.low)) & (values <= all(c.high))) ? dy : Lanes{};
    }
    return dy;
}

template <int MASK>
void sums(const Channel& c, double& plain, double& centred) {
    const Lanes mean = all(c.mean);
    for (int64_t n = 0; n < c.samples; n++) {
        const float *dy = c.dy + n * c.stride, *judge = c.judge + n * c.stride, *x = c.x + n * c.stride;
        Lanes a{}, b{};
        int64_t i = 0;
        for (; i + LANES <= c.size; i += LANES) {
            Lanes dz = through<MASK>(c, load(dy + i), judge + i);
            a += dz, b += dz * (load(x + i) - mean);
        }
        float last = 0, last_centred = 0;
        for (; i < c.size; i++) {
            float dz = through<MASK>(c, dy[i], judge[i]);
            last += dz, last_centred += dz * (x[i] - c.mean);
        }
        plain += sum(a) + last, centred += sum(b) + last_centred;
    }
}

template <int MASK>
void write(const Channel& c, float of_dz, float of_x, float constant) {
    const Lanes mean = all(c.mean), p = all(of_dz), q = all(of_x), r = all(constant);
    for (int64_t n = 0; n < c.samples; n++) {
        const float *dy = c.dy + n * c.stride, *judge = c.judge + n * c.stride, *x = c.x + n * c.stride;
        float* dx = c.dx + n * c.stride;
        int64_t i = 0;
        for (; i + LANES <= c.size; i += LANES)
            store(dx + i, p * through<MASK>(c, load(dy + i), judge + i) + (q * (load(x + i) - mean) + r));
        for (; i < c.size; i++)
            dx[i] = of_dz * through<MASK>(c, dy[i], judge[i]) + (of_x * (x[i] - c.mean) + constant);
    }
}

struct Gradient {
    static constexpr const char* NAME = "BatchNormGradient";
    static constexpr size_t INPUTS = 6, OUTPUTS = 3;
    const ort::Api& api;
    float epsilon, low, high;
    int64_t mask;

    Gradient(const ort::Api& api, const ort::Info* info) : api(api) {
        epsilon = ort::number(api, info, "epsilon");
        low = ort::number(api, info, "low"), high = ort::number(api, info, "high");
        mask = ort::integer(api, info, "mask");
    }

    void run(ort::Context* context) {
        ort::Tensor dy = ort::input(api, context, 0), judge = ort::input(api, context, 1);
        ort::Tensor x = ort::input(api, context, 2), scale = ort::input(api, context, 3);
        ort::Tensor mean = ort::input(api, context, 4), variance = ort::input(api, context, 5);
        const int64_t N = x.dims[0], C = x.dims[1], size = x.dims[2] * x.dims[3];
        float* dx = ort::output(api, context, 0, x.dims, x.rank);
        float* dscale = ort::output(api, context, 1, &C, 1);
        float* dbias = ort::output(api, context, 2, &C, 1);
        for (int64_t c = 0; c < C; c++) {
            const int64_t at = c * size;
            Channel channel{dy.data + at, judge.data + at, x.data + at, dx + at, N, C * size, size, low, high, mean.data[c]};
            const float deviation = sqrtf(variance.data[c] + epsilon), slope = scale.data[c] / deviation;
            double plain = 0, centred = 0;
            mask == 0 ? sums<0>(channel, plain, centred)
            : mask == 1 ? sums<1>(channel, plain, centred) : sums<2>(channel, plain, centred);
            dbias[c] = static_cast<float>(plain), dscale[c] = static_cast<float>(centred / deviation);
            const float share = -slope / static_cast<float>(N * size);
            const float of_x = dscale[c] / deviation * share, constant = dbias[c] * share;
            mask == 0 ? write<0>(channel, slope, of_x, constant)
            : mask == 1 ? write<1>(channel, slope, of_x, constant) : write<2>(channel, slope, of_x, constant);
        }
    }
};

}  // namespace

const ort::Operator BATCH_NORM_GRADIENT = described<Gradient>();
