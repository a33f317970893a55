#include "gateway/queue.h"

void image_list_push(image_list_t *list, image_t *image) {
    image->next = NULL;
    if (list->last)
        list->last->next = image;
    else
        list->first = image;
    list->last = image;
    list->count++;
}

image_t *image_list_pop(image_list_t *list) {
    image_t *image = list->first;
    if (!image)
        return NULL;
    list->first = image->next;
    if (!list->first)
        list->last = NULL;
    list->count--;
    image->next = NULL;
    return image;
}

bool image_is_cancelled(const image_t *image) {
    return image->cancelled && atomic_load_explicit(image->cancelled, memory_order_relaxed);
}

static bool is_expired(const image_t *image, int64_t now_ms) {
    return (image->deadline_ms != 0 && now_ms >= image->deadline_ms) || image_is_cancelled(image);
}

static image_t *pop_live(image_list_t *list, int64_t now_ms, image_list_t *expired) {
    image_t *image;
    while ((image = image_list_pop(list)) != NULL && is_expired(image, now_ms))
        image_list_push(expired, image);
    return image;
}

// --- Decoding
// -------------------------------------------------------------------------------------

static bool has_room(const decode_queue_t *queue, const image_t *image) {
    return queue->large_busy == 0 || queue->large_busy + image->area <= QUEUE_PIXELS_MAX;
}

image_t *decode_queue_take(decode_queue_t *queue, int64_t now_ms, image_list_t *expired) {
    while (queue->large.first && is_expired(queue->large.first, now_ms))
        image_list_push(expired, image_list_pop(&queue->large));
    if (queue->large.first && has_room(queue, queue->large.first)) {
        queue->large_busy += queue->large.first->area;
        return image_list_pop(&queue->large);
    }
    return pop_live(&queue->images, now_ms, expired);
}

bool decode_queue_large(decode_queue_t *queue, image_t *image, uint64_t area) {
    ERR_ASSERT(area > 0 && image->area == 0);
    image->area = area;
    if (queue->large.first || !has_room(queue, image)) {
        image_list_push(&queue->large, image);
        return false;
    }
    queue->large_busy += area;
    return true;
}

void decode_queue_done(decode_queue_t *queue, const image_t *image) {
    ERR_ASSERT(queue->large_busy >= image->area);
    queue->large_busy -= image->area;
}

// --- Computing
// ------------------------------------------------------------------------------------

size_t compute_queue_take(image_list_t *queue, int64_t now_ms, size_t max, image_t **batch,
                          image_list_t *expired) {
    image_list_t rest = {0};
    size_t count = 0;
    image_t *image;
    while (count < max && (image = pop_live(queue, now_ms, expired)) != NULL) {
        if (count == 0 || image->engine == batch[0]->engine)
            batch[count++] = image;
        else
            image_list_push(&rest, image);
    }
    if (rest.last) { // those of other engines go back to the front
        rest.last->next = queue->first;
        queue->first = rest.first;
        queue->last = queue->last ? queue->last : rest.last;
        queue->count += rest.count;
    }
    return count;
}

// --- How much may wait
// ----------------------------------------------------------------------------

#define MIB (1024.0 * 1024.0)

static err_code_t too_large(const budget_t *budget, size_t images, uint64_t bytes, err_t *err) {
    err_set(err, ERR_TOO_LARGE,
            "a request of %zu images needs %.1f MiB here; the limits are %zu images and %.1f MiB",
            images, (double)bytes / MIB, budget->images_max, (double)budget->bytes_max / MIB);
    return err_remedy(err, "send fewer images at once"), ERR_TOO_LARGE;
}

static err_code_t full(const budget_t *budget, err_t *err) {
    err_set(err, ERR_FULL, "%zu images in %zu requests wait already (%.1f of %.1f MiB)",
            budget->images, budget->requests, (double)budget->bytes / MIB,
            (double)budget->bytes_max / MIB);
    return err_remedy(err, "send it again in a moment, with fewer requests in flight"), ERR_FULL;
}

err_code_t budget_take(budget_t *budget, size_t images, uint64_t bytes, err_t *err) {
    if (bytes > budget->bytes_max || images > budget->images_max)
        return too_large(budget, images, bytes, err);
    if (bytes > budget->bytes_max - budget->bytes || images > budget->images_max - budget->images ||
        budget->requests >= budget->requests_max)
        return full(budget, err);
    budget->bytes += bytes;
    budget->images += images;
    budget->requests++;
    return ERR_OK;
}

err_code_t budget_grow(budget_t *budget, size_t images, uint64_t bytes, err_t *err) {
    if (bytes > budget->bytes_max || images > budget->images_max)
        return too_large(budget, images, bytes, err);
    if (bytes > budget->bytes_max - budget->bytes || images > budget->images_max - budget->images)
        return full(budget, err);
    budget->bytes += bytes;
    budget->images += images;
    return ERR_OK;
}

void budget_give(budget_t *budget, size_t images, uint64_t bytes) {
    ERR_ASSERT(budget->requests > 0 && budget->images >= images && budget->bytes >= bytes);
    budget->bytes -= bytes;
    budget->images -= images;
    budget->requests--;
}
