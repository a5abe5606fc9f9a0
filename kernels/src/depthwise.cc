// Depthwise convolution of images (N, C, H, W) with filters (C, 1, kh, kw): forward, and both gradients.
//
// A plane is copied into a scratch image with its padding, so that a cell of the window is a constant distance in
// memory, and rows run into one another: the inner loop goes over the whole plane, whatever its width. The columns
// that belong to no position are computed, too, and left out when the result is copied back. With stride s the plane
// is dealt out to s * s scratch images, one for every remainder of row and column; a cell reads from one of them.
#include "memory.h"
#include "operators.h"
#include "vector.h"

namespace {

struct Geometry {
    int stride_h, stride_w, top, left, bottom, right, dilation_h, dilation_w, extra_h, extra_w;

    Geometry(const ort::Api& api, const ort::Info* info) {
        auto read = [&](const char* name) { return static_cast<int>(ort::integer(api, info, name)); };
        stride_h = read("stride_h"), stride_w = read("stride_w");
        top = read("top"), left = read("left"), bottom = read("bottom"), right = read("right");
        dilation_h = read("dilation_h"), dilation_w = read("dilation_w");
        extra_h = read("extra_h"), extra_w = read("extra_w");
    }
};

int divided(int a, int b) { return (a + b - 1) / b; }

int larger(int a, int b) { return a > b ? a : b; }

// The scratch images of one plane of the larger side (h, w), and where the smaller side (oh, ow) is in them.
struct Scratch {
    const Geometry& g;
    const int h, w, oh, ow, cells, rows, pitch, phase, length;
    Buffer<float> images, small;
    Buffer<int> distance;  // of every cell of the window, in `images`

    Scratch(const Geometry& g, int h, int w, int oh, int ow, int kh, int kw)
        : g(g), h(h), w(w), oh(oh), ow(ow), cells(kh * kw),
          rows(larger(oh + divided(g.dilation_h * (kh - 1), g.stride_h) + 1, divided(h + g.top, g.stride_h))),
          pitch(larger(ow + divided(g.dilation_w * (kw - 1), g.stride_w), divided(w + g.left, g.stride_w))),
          phase(divided(rows * pitch, LANES) * LANES + 4 * LANES),
          length(divided((oh - 1) * pitch + ow, LANES) * LANES),
          images(static_cast<size_t>(phase) * g.stride_h * g.stride_w + 4 * pitch + 4 * LANES),
          small(length + 4 * LANES), distance(cells) {
        for (int i = 0; i < kh; i++)
            for (int j = 0; j < kw; j++) {
                int r = i * g.dilation_h, c = j * g.dilation_w;
                int image = (r % g.stride_h) * g.stride_w + c % g.stride_w;
                distance[i * kw + j] = image * phase + (r / g.stride_h) * pitch + c / g.stride_w;
            }
    }

    float* at(int r, int c) {  // of the larger side
        r += g.top, c += g.left;
        int image = (r % g.stride_h) * g.stride_w + c % g.stride_w;
        return images.data + image * phase + (r / g.stride_h) * pitch + c / g.stride_w;
    }

    void fill(const float* plane) {
        if (g.stride_w == 1) {
            for (int r = 0; r < h; r++) memcpy(at(r, 0), plane + r * w, w * sizeof(float));
            return;
        }
        for (int r = 0; r < h; r++)
            for (int c = 0; c < w; c++) *at(r, c) = plane[r * w + c];
    }

    void drain(float* plane) {
        if (g.stride_w == 1) {
            for (int r = 0; r < h; r++) memcpy(plane + r * w, at(r, 0), w * sizeof(float));
            return;
        }
        for (int r = 0; r < h; r++)
            for (int c = 0; c < w; c++) plane[r * w + c] = *at(r, c);
    }

    void fill_small(const float* plane) {
        for (int r = 0; r < oh; r++) memcpy(small.data + r * pitch, plane + r * ow, ow * sizeof(float));
    }

    void drain_small(float* plane) {
        for (int r = 0; r < oh; r++) memcpy(plane + r * ow, small.data + r * pitch, ow * sizeof(float));
    }
};

// small[i] = sum over cells of filter[cell] images[i + distance[cell]]
template <int CELLS>
void gather(Scratch& s, const float* filter, int cells) {
    const int count = CELLS ? CELLS : cells;
    const float* images = s.images.data;
    const int* distance = s.distance.data;
    float* to = s.small.data;
    int i = 0;
    for (; i + 4 * LANES <= s.length; i += 4 * LANES) {
        Lanes a{}, b{}, c{}, d{};
        for (int k = 0; k < count; k++) {
            const float* from = images + i + distance[k];
            Lanes weight = all(filter[k]);
            a += weight * load(from), b += weight * load(from + LANES);
            c += weight * load(from + 2 * LANES), d += weight * load(from + 3 * LANES);
        }
        store(to + i, a), store(to + i + LANES, b), store(to + i + 2 * LANES, c), store(to + i + 3 * LANES, d);
    }
    for (; i < s.length; i += LANES) {
        Lanes a{};
        for (int k = 0; k < count; k++) a += all(filter[k]) * load(images + i + distance[k]);
        store(to + i, a);
    }
}

// sums[cell] += sum over i of small[i] images[i + distance[cell]]; `small` is 0 between the rows
template <int CELLS>
void correlate(const Scratch& s, double* sums, int cells) {
    constexpr int AT_ONCE = 9;
    const int count = CELLS ? CELLS : cells;
    const float *images = s.images.data, *small = s.small.data;
    for (int first = 0; first < count; first += AT_ONCE) {
        Lanes parts[AT_ONCE] = {};
        const int many = count - first < AT_ONCE ? count - first : AT_ONCE;
        const int* distance = s.distance.data + first;
        if (many == AT_ONCE)
            for (int i = 0; i < s.length; i += LANES) {
                Lanes values = load(small + i);
                for (int k = 0; k < AT_ONCE; k++) parts[k] += values * load(images + i + distance[k]);
            }
        else
            for (int i = 0; i < s.length; i += LANES) {
                Lanes values = load(small + i);
                for (int k = 0; k < many; k++) parts[k] += values * load(images + i + distance[k]);
            }
        for (int k = 0; k < many; k++) sums[first + k] += sum(parts[k]);
    }
}

// images[i + distance[cell]] += filter[cell] small[i]; `small` is 0 between the rows
void scatter(Scratch& s, const float* filter, int cells) {
    float* images = s.images.data;
    const float* small = s.small.data;
    memset(images, 0, s.images.size * sizeof(float));
    for (int k = 0; k < cells; k++) {
        Lanes weight = all(filter[k]);
        float* to = images + s.distance[k];
        for (int i = 0; i < s.length; i += LANES) store(to + i, load(to + i) + weight * load(small + i));
    }
}

struct Conv {
    static constexpr const char* NAME = "DepthwiseConv";
    static constexpr size_t INPUTS = 2, OUTPUTS = 1;
    const ort::Api& api;
    Geometry g;

    Conv(const ort::Api& api, const ort::Info* info) : api(api), g(api, info) {}

    void run(ort::Context* context) {
        ort::Tensor x = ort::input(api, context, 0), w = ort::input(api, context, 1);
        const int h = x.dims[2], wide = x.dims[3], kh = w.dims[2], kw = w.dims[3];
        const int oh = (h + g.top + g.bottom - g.dilation_h * (kh - 1) - 1) / g.stride_h + 1;
        const int ow = (wide + g.left + g.right - g.dilation_w * (kw - 1) - 1) / g.stride_w + 1;
        const int64_t dims[] = {x.dims[0], x.dims[1], oh, ow}, planes = x.dims[0] * x.dims[1];
        float* y = ort::output(api, context, 0, dims, 4);
        Scratch s(g, h, wide, oh, ow, kh, kw);
        for (int64_t p = 0; p < planes; p++) {
            const float* filter = w.data + p % x.dims[1] * kh * kw;
            s.fill(x.data + p * h * wide);
            kh * kw == 9 ? gather<9>(s, filter, 9) : gather<0>(s, filter, kh * kw);
            s.drain_small(y + p * oh * ow);
        }
    }
};

// Also a transposed convolution in its own right: the larger side is made of the smaller one.
struct InputGradient {
    static constexpr const char* NAME = "DepthwiseInputGradient";
    static constexpr size_t INPUTS = 2, OUTPUTS = 1;
    const ort::Api& api;
    Geometry g;

    InputGradient(const ort::Api& api, const ort::Info* info) : api(api), g(api, info) {}

    void run(ort::Context* context) {
        ort::Tensor dy = ort::input(api, context, 0), w = ort::input(api, context, 1);
        const int oh = dy.dims[2], ow = dy.dims[3], kh = w.dims[2], kw = w.dims[3];
        const int reach_h = g.dilation_h * (kh - 1), reach_w = g.dilation_w * (kw - 1);
        const int h = g.stride_h * (oh - 1) + g.extra_h + reach_h + 1 - g.top - g.bottom;
        const int wide = g.stride_w * (ow - 1) + g.extra_w + reach_w + 1 - g.left - g.right;
        const int64_t dims[] = {dy.dims[0], dy.dims[1], h, wide}, planes = dy.dims[0] * dy.dims[1];
        float* dx = ort::output(api, context, 0, dims, 4);
        if (g.stride_h == 1 && g.stride_w == 1 && reach_h >= g.top && reach_w >= g.left) {
            mirrored(dy, w, dx, h, wide, reach_h, reach_w);
            return;
        }
        Scratch s(g, h, wide, oh, ow, kh, kw);
        for (int64_t p = 0; p < planes; p++) {
            s.fill_small(dy.data + p * oh * ow);
            scatter(s, w.data + p % dy.dims[1] * kh * kw, kh * kw);
            s.drain(dx + p * h * wide);
        }
    }

  private:
    // At stride 1 it is the convolution with the reversed filters.
    void mirrored(const ort::Tensor& dy, const ort::Tensor& w, float* dx, int h, int wide, int reach_h, int reach_w) {
        const int oh = dy.dims[2], ow = dy.dims[3], kh = w.dims[2], kw = w.dims[3], cells = kh * kw;
        Geometry back = g;
        back.top = reach_h - g.top, back.left = reach_w - g.left;
        Scratch s(back, oh, ow, h, wide, kh, kw);
        Buffer<float> filter(cells);
        for (int64_t p = 0; p < dy.dims[0] * dy.dims[1]; p++) {
            const float* straight = w.data + p % dy.dims[1] * cells;
            for (int k = 0; k < cells; k++) filter[k] = straight[cells - 1 - k];
            s.fill(dy.data + p * oh * ow);
            cells == 9 ? gather<9>(s, filter.data, 9) : gather<0>(s, filter.data, cells);
            s.drain_small(dx + p * h * wide);
        }
    }
};

struct FilterGradient {
    static constexpr const char* NAME = "DepthwiseFilterGradient";
    static constexpr size_t INPUTS = 2, OUTPUTS = 1;
    const ort::Api& api;
    Geometry g;
    int kh, kw;

    FilterGradient(const ort::Api& api, const ort::Info* info) : api(api), g(api, info) {
        kh = ort::integer(api, info, "kernel_h"), kw = ort::integer(api, info, "kernel_w");
    }

    void run(ort::Context* context) {
        ort::Tensor x = ort::input(api, context, 0), dy = ort::input(api, context, 1);
        const int h = x.dims[2], wide = x.dims[3], oh = dy.dims[2], ow = dy.dims[3], cells = kh * kw;
        const int64_t C = x.dims[1], dims[] = {C, 1, kh, kw};
        float* dw = ort::output(api, context, 0, dims, 4);
        Scratch s(g, h, wide, oh, ow, kh, kw);
        Buffer<double> sums(cells);
        for (int64_t c = 0; c < C; c++) {
            memset(sums.data, 0, cells * sizeof(double));
            for (int64_t n = 0; n < x.dims[0]; n++) {
                s.fill(x.data + (n * C + c) * h * wide);
                s.fill_small(dy.data + (n * C + c) * oh * ow);
                cells == 9 ? correlate<9>(s, sums.data, 9) : correlate<0>(s, sums.data, cells);
            }
            for (int k = 0; k < cells; k++) dw[c * cells + k] = static_cast<float>(sums[k]);
        }
    }
};

}  // namespace

const ort::Operator DEPTHWISE_CONV = described<Conv>();
const ort::Operator DEPTHWISE_INPUT_GRADIENT = described<InputGradient>();
const ort::Operator DEPTHWISE_FILTER_GRADIENT = described<FilterGradient>();
