#include "gateway/queue.h"

#include <stdlib.h>

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

static bool is_expired(const image_t *image, int64_t now_us) {
    return (image->deadline_ms != 0 && now_us + image->need_us >= image->deadline_ms * 1000) ||
           image_is_cancelled(image);
}

// --- Lines
// ----------------------------------------------------------------------------------------

static int priority_of(const image_t *image) {
    int priority = image->priority ? image->priority : 2;
    return priority < QUEUE_PRIORITIES ? priority : QUEUE_PRIORITIES;
}

void image_line_push(image_line_t *line, image_t *image) {
    image_list_push(&line->priorities[priority_of(image) - 1], image);
    line->count++;
}

// The list whose head is first in order, or NULL; *key: its place.
static image_list_t *first_list(image_line_t *line, int64_t *key) {
    image_list_t *first = NULL;
    *key = 0;
    for (int i = 0; i < QUEUE_PRIORITIES; i++) {
        const image_t *head = line->priorities[i].first;
        int64_t place = head ? head->entered_us + i * (int64_t)QUEUE_AGING_US : 0;
        if (head && (!first || place < *key)) {
            first = &line->priorities[i];
            *key = place;
        }
    }
    return first;
}

image_t *image_line_take(image_line_t *line, int64_t now_us, image_list_t *expired) {
    int64_t key;
    image_list_t *list;
    while ((list = first_list(line, &key)) != NULL) {
        image_t *image = image_list_pop(list);
        line->count--;
        if (!is_expired(image, now_us))
            return image;
        image_list_push(expired, image);
    }
    return NULL;
}

// When the image came that has waited longest; needs one that waits.
static int64_t oldest(const image_line_t *line) {
    int64_t oldest_us = INT64_MAX;
    for (int i = 0; i < QUEUE_PRIORITIES; i++) {
        const image_t *head = line->priorities[i].first;
        if (head && head->entered_us < oldest_us)
            oldest_us = head->entered_us;
    }
    return oldest_us;
}

// --- Decoding
// -------------------------------------------------------------------------------------

static bool has_room(const decode_queue_t *queue, const image_t *image) {
    return queue->large_busy == 0 || queue->large_busy + image->area <= QUEUE_PIXELS_MAX;
}

image_t *decode_queue_take(decode_queue_t *queue, int64_t now_us, image_list_t *expired) {
    while (queue->large.first && is_expired(queue->large.first, now_us))
        image_list_push(expired, image_list_pop(&queue->large));
    if (queue->large.first && has_room(queue, queue->large.first)) {
        queue->large_busy += queue->large.first->area;
        return image_list_pop(&queue->large);
    }
    return image_line_take(&queue->images, now_us, expired);
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

bool decode_may_start(size_t cores, size_t computing, size_t decoding) {
    size_t free = computing < cores ? cores - computing : 0;
    return decoding < (free > 1 ? free : 1);
}

// --- Computing
// ------------------------------------------------------------------------------------

void compute_queue_push(compute_queue_t *queue, image_t *image) {
    size_t i = 0;
    while (i < queue->group_count && queue->groups[i].engine != image->engine)
        i++;
    if (i == queue->group_count) {
        if (i == queue->group_room) {
            queue->group_room = i ? 2 * i : 8;
            queue->groups = mem_grow(queue->groups, queue->group_room * sizeof *queue->groups);
        }
        queue->groups[queue->group_count++] = (compute_group_t){.engine = image->engine};
    }
    image_line_push(&queue->groups[i].images, image);
    queue->count++;
}

// When the group's next batch may go: at once if it is full.
static int64_t due(const compute_queue_t *queue, const compute_group_t *group) {
    if (queue->delay_us == 0 || group->images.count >= queue->batch_max(group->engine))
        return INT64_MIN;
    return oldest(&group->images) + queue->delay_us;
}

// Of the groups that may go the one whose head is first in order, or NULL.
static compute_group_t *first_group(compute_queue_t *queue, int64_t now_us, int64_t *until_us) {
    compute_group_t *first = NULL;
    int64_t key = 0, place = 0;
    for (size_t i = 0; i < queue->group_count; i++) {
        compute_group_t *group = &queue->groups[i];
        int64_t due_us = due(queue, group);
        if (due_us > now_us) {
            *until_us = due_us < *until_us ? due_us : *until_us;
            continue;
        }
        first_list(&group->images, &place);
        if (!first || place < key) {
            first = group;
            key = place;
        }
    }
    return first;
}

static size_t share_of(const compute_queue_t *queue, const compute_group_t *group) {
    size_t share = (group->images.count + queue->lanes - 1) / queue->lanes;
    size_t most = queue->batch_max(group->engine);
    // Who waits for a full batch wants it whole.
    return queue->delay_us > 0 || share > most ? most : share;
}

size_t compute_queue_take(compute_queue_t *queue, int64_t now_us, image_t **batch,
                          image_list_t *expired, int64_t *until_us) {
    compute_group_t *group;
    size_t count = 0;
    *until_us = INT64_MAX;
    while (count == 0 && (group = first_group(queue, now_us, until_us)) != NULL) {
        size_t before = group->images.count, share = share_of(queue, group);
        image_t *image;
        while (count < share && (image = image_line_take(&group->images, now_us, expired)) != NULL)
            batch[count++] = image;
        queue->count -= before - group->images.count;
        if (group->images.count == 0)
            *group = queue->groups[--queue->group_count];
    }
    return count;
}

void compute_queue_empty(compute_queue_t *queue, image_list_t *list) {
    for (size_t i = 0; i < queue->group_count; i++)
        for (int p = 0; p < QUEUE_PRIORITIES; p++)
            for (image_t *image; (image = image_list_pop(&queue->groups[i].images.priorities[p]));)
                image_list_push(list, image);
    free(queue->groups);
    queue->groups = NULL;
    queue->group_count = queue->group_room = queue->count = 0;
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

void budget_shrink(budget_t *budget, uint64_t bytes) {
    ERR_ASSERT(budget->bytes >= bytes);
    budget->bytes -= bytes;
}

void budget_give(budget_t *budget, size_t images, uint64_t bytes) {
    ERR_ASSERT(budget->requests > 0 && budget->images >= images && budget->bytes >= bytes);
    budget->bytes -= bytes;
    budget->images -= images;
    budget->requests--;
}
