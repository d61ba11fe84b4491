// Tracks points through a live video without Python: a network on every frame, and patches beside it.
//
//     tapetum export causal-tapir-nano live.onnx --program live --size 640x480
//     g++ -std=c++17 -O3 -march=native -ffast-math live.cpp -o live $(pkg-config --cflags --libs libonnxruntime)
//     ffmpeg -v error -i clip.mp4 -vf scale=640:480 -f rawvideo -pix_fmt rgb24 - | ./live live.onnx points.csv
//
// points.csv has the header t,x,y: the frame and the pixel of each point, by frame. The lines of a frame
// (frame,point,x,y,visible,confidence) are written as soon as they are known. Options: --threads N of the network (1),
// --polish no for the network alone.
//
// The same as tapetum's `step`; what has a name there (follower.py, polish.py, recent.py), where the algorithm is explained,
// has it here. Places are (x, y) in pixels; the centre of the first pixel is at (0.5, 0.5).
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

constexpr int RADIUS = 9, LINE = 2 * RADIUS + 1, PIXELS = LINE * LINE;  // of a patch
constexpr int SIDE = 256;                                                // shorter side of the image that patches are cut from
constexpr int COARSE = 4;                                                // pixels of it to one of the coarse image
constexpr float TO_COARSE = 1.0f / COARSE;
constexpr float SPREAD = 6, CONTRAST = 2, STIFF = 4e-4f;
constexpr int ITERATIONS = 4;
constexpr int AGE = 4;  // frames after which the patches of a visible point are cut again
constexpr float ACCEPTED = 0.9f, SURELY_SEEN = 0.95f, FOUND = 0.7f, SURELY = 0.95f, EXACT = 0.9f;  // correlations
constexpr float NETWORK_REACH = 6, GUESS_REACH = 3, RECENT_REACH = 2, REACH = 4, BACK = 2, AGREED = 2, NEAR = 8;  // pixels

struct Vec {
    float x = 0, y = 0;
};
Vec operator+(Vec a, Vec b) { return {a.x + b.x, a.y + b.y}; }
Vec operator-(Vec a, Vec b) { return {a.x - b.x, a.y - b.y}; }
Vec operator*(Vec a, float by) { return {a.x * by, a.y * by}; }
float norm(Vec a) { return std::sqrt(a.x * a.x + a.y * a.y); }

struct Mat {
    float a = 1, b = 0, c = 0, d = 1;
};
Mat operator*(Mat m, Mat n) {
    return {m.a * n.a + m.b * n.c, m.a * n.b + m.b * n.d, m.c * n.a + m.d * n.c, m.c * n.b + m.d * n.d};
}
Vec operator*(Mat m, Vec v) { return {m.a * v.x + m.b * v.y, m.c * v.x + m.d * v.y}; }

struct Size {
    int width, height;
};
Vec scale(Vec at, Size from, Size to) {
    return {at.x * (float(to.width) / from.width), at.y * (float(to.height) / from.height)};
}

// ---- images -----------------------------------------------------------------------------------------------------------------

struct Image {
    Size size;
    std::vector<float> pixels;
    float at(int x, int y) const { return pixels[y * size.width + x]; }
    float across(int x, int y) const { return x == 0 || x == size.width - 1 ? 0 : (at(x + 1, y) - at(x - 1, y)) / 2; }
    float down(int x, int y) const { return y == 0 || y == size.height - 1 ? 0 : (at(x, y + 1) - at(x, y - 1)) / 2; }
};

Size reduced(Size frame) {
    double factor = std::min(1.0, double(SIDE) / std::min(frame.width, frame.height));
    return {int(std::nearbyint(frame.width * factor)), int(std::nearbyint(frame.height * factor))};
}

// Bytes shrunk along one axis by a triangle filter, as torch's F.interpolate(antialias=True): its whole weights, its rounding.
// The axis has `inward` places of `stride` bytes (known when this is compiled, if not 0) and stands in `outer` blocks.
template <int STRIDE>
std::vector<uint8_t> shrink(const std::vector<uint8_t>& bytes, int outer, int inward, int outward, int given) {
    const int stride = STRIDE ? STRIDE : given;
    if (inward == outward) return bytes;
    const double ratio = double(inward) / outward, support = ratio;
    std::vector<int> first(outward);
    std::vector<std::vector<double>> weights(outward);
    std::vector<std::vector<int>> whole(outward);  // the weights in units of 2^-precision
    double most = 0;
    for (int i = 0; i < outward; ++i) {
        const double centre = ratio * (i + 0.5);
        first[i] = std::max(int(centre - support + 0.5), 0);
        const int count = std::min(int(centre + support + 0.5), inward) - first[i];
        double sum = 0;
        for (int k = 0; k < count; ++k) {
            weights[i].push_back(std::max(0.0, 1 - std::abs((k + first[i] - centre + 0.5) / ratio)));
            sum += weights[i].back();
        }
        for (double& weight : weights[i]) most = std::max(most, weight /= sum);
    }
    int precision = 0;
    while (precision < 22 && int(0.5 + most * (1 << (precision + 1))) < 1 << 15) ++precision;
    for (int i = 0; i < outward; ++i)
        for (double weight : weights[i]) whole[i].push_back(int(0.5 + weight * (1 << precision)));
    std::vector<uint8_t> out(size_t(outer) * outward * stride);
    std::vector<int> sums(stride);
    for (int block = 0; block < outer; ++block)
        for (int i = 0; i < outward; ++i) {
            std::fill(sums.begin(), sums.end(), 1 << (precision - 1));
            const uint8_t* from = &bytes[(size_t(block) * inward + first[i]) * stride];
            for (int weight : whole[i]) {
                for (int c = 0; c < stride; ++c) sums[c] += weight * from[c];
                from += stride;
            }
            uint8_t* to = &out[(size_t(block) * outward + i) * stride];
            for (int c = 0; c < stride; ++c) to[c] = uint8_t(std::clamp(sums[c] >> precision, 0, 255));
        }
    return out;
}

// 1 4 6 4 1 along x, the border repeated; the result is transposed.
Image blurred(const Image& image) {
    const auto [width, height] = image.size;
    Image out{{height, width}, std::vector<float>(image.pixels.size())};
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) {
            auto p = [&](int dx) { return image.at(std::clamp(x + dx, 0, width - 1), y); };
            out.pixels[size_t(x) * height + y] = (p(-2) + p(2) + 4 * (p(-1) + p(1)) + 6 * p(0)) / 16;
        }
    return out;
}

Image grey(const std::vector<uint8_t>& frame, Size size) {
    const Size small = reduced(size);
    const auto rows = shrink<3>(frame, size.height, size.width, small.width, 3);
    const auto bytes = shrink<0>(rows, 1, size.height, small.height, small.width * 3);
    Image image{small, std::vector<float>(size_t(small.width) * small.height)};
    for (size_t i = 0; i < image.pixels.size(); ++i)
        image.pixels[i] = float(bytes[3 * i] + bytes[3 * i + 1] + bytes[3 * i + 2]) / 3;
    return blurred(blurred(image));
}

// Means of blocks of COARSE x COARSE pixels, smaller ones at the right and at the bottom.
Image coarse(const Image& image) {
    const Size size{(image.size.width + COARSE - 1) / COARSE, (image.size.height + COARSE - 1) / COARSE};
    Image out{size, std::vector<float>(size_t(size.width) * size.height)};
    for (int y = 0; y < size.height; ++y)
        for (int x = 0; x < size.width; ++x) {
            float sum = 0;
            int count = 0;
            for (int v = COARSE * y; v < std::min(COARSE * (y + 1), image.size.height); ++v)
                for (int u = COARSE * x; u < std::min(COARSE * (x + 1), image.size.width); ++u, ++count) sum += image.at(u, v);
            out.pixels[size_t(y) * size.width + x] = sum / count;
        }
    return out;
}

// A frame of one colour, such as black, shows no point.
bool is_flat(const std::vector<uint8_t>& frame, Size size) {
    double sum = 0, squares = 0, count = 0;
    for (int y = 0; y < size.height; y += 8)
        for (int x = 0; x < size.width; x += 8)
            for (int c = 0; c < 3; ++c, ++count) {
                const double value = frame[(size_t(y) * size.width + x) * 3 + c];
                sum += value, squares += value * value;
            }
    return squares / count - sum / count * (sum / count) < 4;
}

// ---- patches ----------------------------------------------------------------------------------------------------------------

using Samples = std::array<float, PIXELS>;

const Samples WEIGHT = [] {
    Samples weight;
    float sum = 0;
    for (int i = 0; i < PIXELS; ++i) {
        const float x = i % LINE - RADIUS, y = i / LINE - RADIUS;
        sum += weight[i] = std::exp(-(x * x + y * y) / (2 * SPREAD * SPREAD));
    }
    for (float& value : weight) value /= sum;
    return weight;
}();

// Bilinear samples of `pixel(x, y)` on the patch's grid around a place, warped by `affine`; the image's border is repeated.
template <class Pixel>
Samples sampled(Size size, Vec at, Mat affine, Pixel pixel) {
    Samples out;
    const auto inside = [](float x, int count) { return x > 0 ? std::min(x, float(count - 1)) : 0.0f; };
    for (int i = 0; i < PIXELS; ++i) {
        const Vec place = at + affine * Vec{float(i % LINE - RADIUS), float(i / LINE - RADIUS)};
        const float x = inside(place.x - 0.5f, size.width), y = inside(place.y - 0.5f, size.height);
        const int left = std::min(int(x), size.width - 2), top = std::min(int(y), size.height - 2);
        const float u = x - left, v = y - top;
        out[i] = (1 - v) * ((1 - u) * pixel(left, top) + u * pixel(left + 1, top)) +
                 v * ((1 - u) * pixel(left, top + 1) + u * pixel(left + 1, top + 1));
    }
    return out;
}
Samples sampled(const Image& image, Vec at, Mat affine) {
    return sampled(image.size, at, affine, [&](int x, int y) { return image.at(x, y); });
}

float weighted(const Samples& a, const Samples& b) {  // mean of their product
    float sum = 0;
    for (int i = 0; i < PIXELS; ++i) sum += a[i] * b[i] * WEIGHT[i];
    return sum;
}

// Makes the weighted mean 0 and the variance 1 (less, where contrast is low); gives the standard deviation that was there.
float standardise(Samples& samples) {
    float mean = 0;
    for (int i = 0; i < PIXELS; ++i) mean += samples[i] * WEIGHT[i];
    for (float& value : samples) value -= mean;
    const float deviation = std::sqrt(weighted(samples, samples));
    for (float& value : samples) value /= std::max(deviation, CONTRAST);
    return deviation;
}

// Solves the symmetric, positive definite `matrix` for all columns of `right`, in place (Cholesky).
void solve(std::array<std::array<double, 6>, 6> matrix, std::array<Samples, 6>& right) {
    for (int i = 0; i < 6; ++i)
        for (int j = 0; j <= i; ++j) {
            double sum = matrix[i][j];
            for (int k = 0; k < j; ++k) sum -= matrix[i][k] * matrix[j][k];
            matrix[i][j] = i == j ? std::sqrt(sum) : sum / matrix[j][j];
        }
    for (int p = 0; p < PIXELS; ++p) {
        double column[6];
        for (int i = 0; i < 6; ++i) {
            column[i] = right[i][p];
            for (int k = 0; k < i; ++k) column[i] -= matrix[i][k] * column[k];
            column[i] /= matrix[i][i];
        }
        for (int i = 5; i >= 0; --i) {
            for (int k = i + 1; k < 6; ++k) column[i] -= matrix[k][i] * column[k];
            right[i][p] = float(column[i] /= matrix[i][i]);
        }
    }
}

struct Start {
    Vec at;
    float reach;  // pixels that alignment may move it by
};
struct Fit {
    Vec at;
    Mat affine;
    float score;  // correlation; -1: not found
};

struct Patch {
    Samples shape;                    // grey, with weighted mean 0 and variance 1
    std::array<Samples, 6> undoing;   // from a patch's differences to the warp that undoes them, to first order
    bool plain;                       // too little contrast to be found again

    static Patch cut(const Image& image, Vec at) {
        Patch patch;
        patch.shape = sampled(image, at, {});
        const Samples across = sampled(image.size, at, {}, [&](int x, int y) { return image.across(x, y); });
        const Samples down = sampled(image.size, at, {}, [&](int x, int y) { return image.down(x, y); });
        const float deviation = standardise(patch.shape);
        patch.plain = deviation < CONTRAST;
        auto& moves = patch.undoing;
        for (int i = 0; i < PIXELS; ++i) {
            const float x = i % LINE - RADIUS, y = i / LINE - RADIUS;
            const float values[6] = {across[i], down[i], across[i] * x, across[i] * y, down[i] * x, down[i] * y};
            for (int k = 0; k < 6; ++k) moves[k][i] = values[k] / std::max(deviation, CONTRAST);
        }
        for (Samples& move : moves) {  // what changes brightness or contrast alone does not count
            const float contrast = weighted(move, patch.shape);
            float brightness = 0;
            for (int i = 0; i < PIXELS; ++i) brightness += move[i] * WEIGHT[i];
            for (int i = 0; i < PIXELS; ++i) move[i] -= brightness + contrast * patch.shape[i];
        }
        std::array<std::array<double, 6>, 6> normal;
        for (int i = 0; i < 6; ++i)
            for (int j = 0; j < 6; ++j) normal[i][j] = weighted(moves[i], moves[j]);
        for (int i = 0; i < 6; ++i) normal[i][i] += STIFF * (i < 2 ? 1 : RADIUS * RADIUS / 4.0);
        for (Samples& move : moves)
            for (int i = 0; i < PIXELS; ++i) move[i] *= WEIGHT[i];
        solve(normal, moves);
        return patch;
    }

    // What an image shows at a place, with the slopes that this patch has.
    Patch shown(const Image& image, Vec at, Mat affine) const {
        Patch patch = *this;
        patch.shape = sampled(image, at, affine);
        standardise(patch.shape);
        return patch;
    }

    // The best fit in an image from several starts (inverse compositional Lucas-Kanade).
    Fit align(const Image& image, const std::vector<Start>& starts, Mat warp) const {
        Fit best{{}, {}, -1};
        for (const Start& start : starts) {
            Vec at = start.at;
            Mat affine = warp;
            for (int iteration = 0; iteration < ITERATIONS; ++iteration) {
                Samples here = sampled(image, at, affine);
                standardise(here);
                for (int i = 0; i < PIXELS; ++i) here[i] -= shape[i];
                float step[6] = {};
                for (int k = 0; k < 6; ++k)
                    for (int i = 0; i < PIXELS; ++i) step[k] += here[i] * undoing[k][i];
                const float a = step[2] + 1, b = step[3], c = step[4], d = step[5] + 1;
                const float area = std::max(a * d - b * c, 0.1f);
                affine = affine * Mat{d / area, -b / area, -c / area, a / area};
                at = at - affine * Vec{step[0], step[1]};
            }
            Samples here = sampled(image, at, affine);
            standardise(here);
            const float score = weighted(here, shape), area = affine.a * affine.d - affine.b * affine.c;
            const bool sound = !plain && norm(at - start.at) < start.reach && area > 0.2f && area < 5 && at.x > 0 && at.y > 0 &&
                               at.x < image.size.width && at.y < image.size.height;
            if (sound && score > best.score) best = {at, affine, score};
        }
        return best;
    }
};

// ---- a point ----------------------------------------------------------------------------------------------------------------

// Patches of a recent frame, which follow the point where the patch of the query no longer fits.
struct RecentPatches {
    Patch fine, coarse;
    Vec at, motion;
    float confidence;  // of the point in the frame that they were cut from
    Mat affine{};
    float score = 0;  // correlation in the last frame
    bool found = true;
    int age = 0;  // frames since they were cut

    RecentPatches(const Image& image, const Image& small, Vec place, float confidence, Vec motion)
        : fine(Patch::cut(image, place)), coarse(Patch::cut(small, place * TO_COARSE)), at(place), motion(motion),
          confidence(confidence) {}

    // Advances from the frame `before` to `image`; a place that differs and leads back elsewhere is not found.
    void follow(const Image& image, const Image& small, const Image& before) {
        const Vec guess = at + motion, from = at;
        const Fit far = coarse.align(small, {{guess * TO_COARSE, REACH}, {at * TO_COARSE, REACH}}, affine);
        const Vec start = far.score > FOUND ? far.at * COARSE : guess;
        const Fit near = fine.align(image, {{start, REACH}, {guess, REACH}}, affine);
        const bool was_found = found;
        score = near.score, found = score > FOUND, ++age;
        if (found && score < SURELY)
            found = fine.shown(image, near.at, near.affine).align(before, {{from, BACK}}, affine).score > -1;
        if (found) at = near.at, affine = near.affine;
        else if (was_found) at = guess;
        motion = found && was_found ? at - from : Vec{};
    }
};

// The patch of the query, which polishes the network's places (Anchors in Python). Places are those of `grey` images.
struct Anchor {
    Patch patch;
    Vec at;  // where the point was when it was last found
    Mat affine;
    Vec motion;
    bool aligned = true, first = true;
    Vec rough;  // where the network put it in the last frame

    Anchor(const Image& image, Vec place) : patch(Patch::cut(image, place)), at(place) {}

    // Advances by one frame, in which the network puts the point at `now`; gives the place, and the correlation there.
    std::pair<Vec, float> follow(const Image& image, Vec now, const std::optional<RecentPatches>& recent) {
        Fit fit{at, affine, 1};
        if (!first || patch.plain) {
            const Vec moved = first ? Vec{} : now - rough;
            const Vec network = aligned ? at + moved : now, last = aligned ? at + motion : now;
            const Vec followed = recent && recent->found ? recent->at : now;
            fit = patch.align(
                image, {{now, NETWORK_REACH}, {network, GUESS_REACH}, {last, GUESS_REACH}, {followed, RECENT_REACH}}, affine);
        }
        const bool found = fit.score > ACCEPTED;
        motion = found && aligned && !first ? fit.at - at : Vec{};
        if (found) at = fit.at, affine = fit.affine;
        aligned = found, first = false, rough = now;
        return {found ? at : now, fit.score};
    }
};

struct Point {
    Vec at;  // pixels of the frame, as all that is written
    bool visible = false;
    float confidence = 0;
    Anchor anchor;
    std::optional<RecentPatches> recent;  // none before the point is visible
};

// ---- the network ------------------------------------------------------------------------------------------------------------

struct Network {
    Ort::Env env{ORT_LOGGING_LEVEL_ERROR};
    Ort::Session session{nullptr};
    Size size{};
    std::vector<int64_t> features_shape, state_shape;  // of all points: a row for each
    std::vector<float> features, state;

    Network(const char* path, int threads) {
        Ort::SessionOptions options;
        options.SetIntraOpNumThreads(threads);
        session = Ort::Session(env, path, options);
        if (session.GetInputCount() != 4) throw std::runtime_error(std::string(path) + " is none of --program live");
        const auto shape = [&](int input) { return session.GetInputTypeInfo(input).GetTensorTypeAndShapeInfo().GetShape(); };
        size = {int(shape(0)[1]), int(shape(0)[0])};
        features_shape = shape(2), state_shape = shape(3);
    }

    // One more frame: places and confidences. `asked` has the places of new points, and NaN for the others.
    std::pair<std::vector<Vec>, std::vector<float>> step(std::vector<uint8_t>& frame, std::vector<Vec>& asked) {
        const size_t points = asked.size();
        const auto rows = [&](std::vector<float>& values, std::vector<int64_t>& shape) {
            shape[0] = int64_t(points);
            size_t count = 1;
            for (int64_t side : shape) count *= size_t(side);
            values.resize(count);  // new points have no past
        };
        rows(features, features_shape), rows(state, state_shape);
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        const auto tensor = [&](auto* data, size_t count, const std::vector<int64_t>& shape) {
            return Ort::Value::CreateTensor(memory, data, count, shape.data(), shape.size());
        };
        std::vector<Ort::Value> inputs;
        inputs.push_back(tensor(frame.data(), frame.size(), {size.height, size.width, 3}));
        inputs.push_back(tensor(&asked[0].x, 2 * points, {int64_t(points), 2}));
        inputs.push_back(tensor(features.data(), features.size(), features_shape));
        inputs.push_back(tensor(state.data(), state.size(), state_shape));
        const char* in[] = {"frame", "query_xy", "features", "state"};
        const char* out[] = {"xy", "confidence", "features_after", "state_after"};
        auto outputs = session.Run(Ort::RunOptions{nullptr}, in, inputs.data(), 4, out, 4);
        const auto numbers = [&](int k) { return outputs[k].GetTensorData<float>(); };
        std::copy_n(numbers(2), features.size(), features.begin());
        std::copy_n(numbers(3), state.size(), state.begin());
        std::vector<Vec> places(points);
        for (size_t i = 0; i < points; ++i) places[i] = {numbers(0)[2 * i], numbers(0)[2 * i + 1]};
        return {places, {numbers(1), numbers(1) + points}};
    }
};

// ---- the loop ---------------------------------------------------------------------------------------------------------------

struct Tracker {
    Network network;
    bool polish;
    Size size, small;
    std::vector<Point> points;
    Image before;  // of the last frame, once there are points

    Tracker(const char* path, int threads, bool polish)
        : network(path, threads), polish(polish), size(network.size), small(reduced(size)) {}

    // Tracks all points into one more frame, in which `fresh` are new.
    void step(std::vector<uint8_t>& frame, const std::vector<Vec>& fresh) {
        const Image image = grey(frame, size), tiny = coarse(image);
        const bool flat = is_flat(frame, size);
        std::vector<Vec> asked(points.size(), {NAN, NAN});
        for (Vec at : fresh) points.push_back({at, false, 0, Anchor(image, scale(at, size, small)), {}}), asked.push_back(at);
        if (points.empty()) return;
        const auto [places, sure] = network.step(frame, asked);
        for (size_t i = 0; i < points.size(); ++i) {
            Point& point = points[i];
            point.at = places[i], point.confidence = flat ? 0 : sure[i];
            if (polish) follow(point, image, tiny, flat);
            point.visible = point.confidence > 0.5f;
        }
        before = image;
    }

    // Follows the patches of a point that is where the network put it.
    void follow(Point& point, const Image& image, const Image& tiny, bool flat) {
        auto& recent = point.recent;
        if (recent) recent->follow(image, tiny, before);
        const auto [exact, score] = point.anchor.follow(image, scale(point.at, size, small), recent);
        if (score > ACCEPTED) point.at = scale(exact, small, size);
        if (score > SURELY_SEEN && !flat) point.confidence = std::max(point.confidence, std::min(score, 1.0f));
        if (recent && recent->found && !flat) prefer_recent(point);
        if (point.confidence > 0.5f && (!recent || !recent->found || recent->age >= AGE)) {  // cut again (renewed in Python)
            const Vec motion = recent && recent->found ? recent->motion : Vec{};
            recent.emplace(image, tiny, scale(point.at, size, small), point.confidence, motion);
        }
    }

    // Chooses between the place of a point and that of its recent patches.
    void prefer_recent(Point& point) {
        const RecentPatches& recent = *point.recent;
        const float apart = norm(scale(point.at, size, small) - recent.at);
        const float sure = std::min(recent.confidence, std::clamp(recent.score, 0.0f, 1.0f));
        if (apart < AGREED) point.confidence = std::max(point.confidence, sure);
        if (point.anchor.aligned || (point.confidence > 0.5f && (recent.score <= EXACT || apart >= NEAR))) return;
        point.at = scale(recent.at, small, size), point.confidence = std::max(point.confidence, sure);
    }
};

struct Query {
    double frame;
    Vec at;
};

std::vector<Query> read_points(const char* path, Size size) {
    std::ifstream file(path);
    std::string line;
    if (!std::getline(file, line) || line.rfind("t,x,y", 0) != 0)
        throw std::runtime_error(std::string(path) + " does not begin with the header t,x,y");
    std::vector<Query> queries;
    while (std::getline(file, line)) {
        Query query;
        if (line.find_first_not_of(" \r") == std::string::npos) continue;
        if (std::sscanf(line.c_str(), "%lf,%f,%f", &query.frame, &query.at.x, &query.at.y) != 3)
            throw std::runtime_error("'" + line + "' in " + path + " must be frame,x,y");
        const auto [x, y] = query.at;
        const bool inside = x >= 0 && y >= 0 && x <= size.width && y <= size.height;
        if (!inside || query.frame < (queries.empty() ? 0 : queries.back().frame))
            throw std::runtime_error("'" + line + "' in " + path + " is outside of the frame, or not in the order of frames");
        queries.push_back(query);
    }
    if (queries.empty()) throw std::runtime_error(std::string(path) + " holds no points");
    return queries;
}

int main(int argc, char** argv) try {
    int threads = 1;
    bool polish = true, sound = argc >= 3 && argc % 2 == 1;
    for (int i = 3; sound && i < argc; i += 2) {
        const std::string name = argv[i], value = argv[i + 1];
        if (name == "--threads") threads = std::atoi(value.c_str());
        else if (name == "--polish") polish = value != "no";
        else sound = false;
    }
    if (!sound || threads < 1) {
        std::cerr << "usage: live live.onnx points.csv [--threads N] [--polish no] < frames.rgb\n";
        return 2;
    }
    Tracker tracker(argv[1], threads, polish);
    const std::vector<Query> queries = read_points(argv[2], tracker.size);
    std::vector<uint8_t> frame(size_t(tracker.size.width) * tracker.size.height * 3);
    std::vector<double> milliseconds;
    std::clock_t processor = 0;
    size_t next = 0;
    std::printf("frame,point,x,y,visible,confidence\n");
    for (long number = 0;; ++number) {
        const size_t got = std::fread(frame.data(), 1, frame.size(), stdin);
        if (got == 0) break;
        if (got < frame.size()) throw std::runtime_error("the input ends within frame " + std::to_string(number));
        const auto begin = std::chrono::steady_clock::now();
        const std::clock_t worked = std::clock();
        std::vector<Vec> fresh;
        for (; next < queries.size() && queries[next].frame == number; ++next) fresh.push_back(queries[next].at);
        tracker.step(frame, fresh);
        processor += std::clock() - worked;
        milliseconds.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
        for (size_t i = 0; i < tracker.points.size(); ++i) {
            const Point& point = tracker.points[i];
            std::printf("%ld,%zu,%.4f,%.4f,%d,%.4f\n", number, i, point.at.x, point.at.y, point.visible, point.confidence);
        }
        std::fflush(stdout);
    }
    if (milliseconds.empty()) throw std::runtime_error("no frame came");
    std::sort(milliseconds.begin(), milliseconds.end());
    const auto share = [&](double part) { return milliseconds[size_t(part * (milliseconds.size() - 1))]; };
    std::fprintf(stderr, "%zu frames, %zu points: median %.1f ms, 99 %% %.1f ms, processor %.1f ms\n", milliseconds.size(),
                 tracker.points.size(), share(0.5), share(0.99),
                 1000.0 * double(processor) / CLOCKS_PER_SEC / double(milliseconds.size()));
    return 0;
} catch (const std::exception& error) {
    std::cerr << "live: " << error.what() << "\n";
    return 2;
}
