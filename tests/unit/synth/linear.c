#include "linear.h"

#include <math.h>
#include <stdlib.h>

static void standardise(float *rows, int count, int width, int train) {
    for (int j = 0; j < width; j++) {
        double sum = 0, square = 0;
        for (int i = 0; i < train; i++) {
            double value = rows[(size_t)i * (size_t)width + (size_t)j];
            sum += value;
            square += value * value;
        }
        double mean = sum / train, variance = square / train - mean * mean;
        double scale = 1 / sqrt(fmax(variance, 1e-6));
        for (int i = 0; i < count; i++) {
            float *at = &rows[(size_t)i * (size_t)width + (size_t)j];
            *at = (float)((*at - mean) * scale);
        }
    }
}

static float product(const float *a, const float *b, int width) {
    float parts[8] = {0};
    int j = 0;
    for (; j + 8 <= width; j += 8)
        for (int k = 0; k < 8; k++)
            parts[k] += a[j + k] * b[j + k];
    float sum = 0;
    for (; j < width; j++)
        sum += a[j] * b[j];
    for (int k = 0; k < 8; k++)
        sum += parts[k];
    return sum;
}

// The weights of the optimum are a combination of the training rows, so that it is found among
// combinations (alpha): f(x) = sum alpha_i <x_i, x> + bias. A step along alpha's natural gradient,
// lambda alpha + (p - label), is as good as one along the weights' and costs train² instead of
// train × width.
static double train_and_test(const float *gram, const int *labels, int count, int train,
                             double lambda, double top) {
    double *alpha = calloc((size_t)train, sizeof *alpha), bias = 0;
    double *error = calloc((size_t)train, sizeof *error), step = 1 / (lambda + top / 4);
    for (int round = 0; round < 1500; round++) {
        double bias_slope = 0;
        for (int i = 0; i < train; i++) {
            double f = bias;
            for (int k = 0; k < train; k++)
                f += alpha[k] * gram[(size_t)i * (size_t)train + (size_t)k];
            error[i] = 1 / (1 + exp(-f)) - labels[i];
            bias_slope += error[i];
        }
        for (int i = 0; i < train; i++)
            alpha[i] -= step * (lambda * alpha[i] + error[i]);
        bias -= bias_slope / train;
    }
    int right = 0;
    for (int i = train; i < count; i++) {
        double f = bias;
        for (int k = 0; k < train; k++)
            f += alpha[k] * gram[(size_t)i * (size_t)train + (size_t)k];
        right += (f > 0) == (labels[i] == 1);
    }
    free(alpha);
    free(error);
    return (double)right / (count - train);
}

double linear_best_accuracy(float *rows, const int *labels, int count, int width, int train) {
    standardise(rows, count, width, train);
    float *gram = malloc((size_t)count * (size_t)train * sizeof *gram);
    double top = 0; // bounds the largest eigenvalue: the greatest row sum of sizes
    for (int i = 0; i < count; i++) {
        double sum = 0;
        for (int k = 0; k < train; k++) {
            float value =
                product(rows + (size_t)i * (size_t)width, rows + (size_t)k * (size_t)width, width) /
                (float)width;
            gram[(size_t)i * (size_t)train + (size_t)k] = value;
            sum += fabsf(value);
        }
        if (i < train && sum > top)
            top = sum;
    }
    double best = 0;
    for (double lambda = 1e-3; lambda < 300; lambda *= 10)
        best = fmax(best, train_and_test(gram, labels, count, train, lambda, top));
    free(gram);
    return best;
}
