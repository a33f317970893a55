#include "coll/gloo_shim.h"

#include <gloo/common/error.h>
#include <gloo/context.h>
#include <gloo/transport/address.h>
#include <gloo/transport/device.h>
#include <gloo/transport/tcp/device.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

// Only gloo's transport is used. Its collectives wait inside of themselves, and with gloo 0.5 such
// a wait ends at its deadline only if the peer dies in the middle of a message, or if this process
// closes the connections. So every wait here is for a buffer of ours, and a thread that waits for
// nothing but the end of a connection ends them all.

namespace {

using clock_type = std::chrono::steady_clock;
using gloo::transport::UnboundBuffer;
using std::chrono::milliseconds;

constexpr uint64_t farewell_slot = 1, first_slot = 2;
constexpr int connect_factor = 5; // gloo waits that many times as long as it is told
constexpr milliseconds for_ever = std::chrono::hours(24 * 365);
constexpr milliseconds farewell_wait(500);

// Without the place in gloo's sources, which it begins with.
const char *plain(const char *what) {
    const char *end = what[0] == '[' ? std::strstr(what, "] ") : nullptr;
    return end ? end + 2 : what;
}

milliseconds left(clock_type::time_point end) {
    auto rest = std::chrono::duration_cast<milliseconds>(end - clock_type::now());
    return rest > milliseconds(1) ? rest : milliseconds(1); // 0 would be for ever
}

// A full mesh whose addresses the caller has exchanged.
class Mesh : public gloo::Context {
  public:
    Mesh(int own_rank, int world, const char *address, milliseconds deadline)
        : gloo::Context(own_rank, world) {
        setTimeout(deadline / connect_factor + milliseconds(1));
        gloo::transport::tcp::attr attr(address);
        device_ = gloo::transport::tcp::CreateDevice(attr);
        transportContext_ = device_->createContext(rank, size);
        transportContext_->setTimeout(getTimeout());
        each_peer([&](int i) { transportContext_->createPair(i); });
    }

    ~Mesh() override {
        if (!watcher.joinable())
            return;
        take_leave();
        sentinel->abortWaitRecv();
        watcher.join();
    }

    template <typename F> void each_peer(F function) {
        for (int i = 0; i < size; i++)
            if (i != rank)
                function(i);
    }

    std::vector<char> addresses() {
        std::vector<char> all;
        each_peer([&](int i) {
            std::vector<char> one = getPair(i)->address().bytes();
            address_bytes = one.size();
            all.insert(all.end(), one.begin(), one.end());
        });
        return all;
    }

    // Of rank i's addresses the one that waits for this rank.
    void connect(const void *const *others) {
        each_peer([&](int i) {
            size_t place = static_cast<size_t>(rank < i ? rank : rank - 1);
            const char *at = static_cast<const char *>(others[i]) + place * address_bytes;
            getPair(i)->connect(std::vector<char>(at, at + address_bytes));
        });
        sentinel = createUnboundBuffer(&farewell, 1);
        each_peer([&](int i) { sentinel->recv(i, farewell_slot, 0, 1); });
        watcher = std::thread([this] { watch(); });
    }

    // Ends all waits, now and later, and tells the peers by closing.
    void give_up(const char *reason) {
        {
            std::lock_guard<std::mutex> lock(mutex);
            if (!broken)
                why = reason;
            broken = true;
            for (UnboundBuffer *buffer : active) {
                buffer->abortWaitRecv();
                buffer->abortWaitSend();
            }
        }
        closeConnections();
    }

    void enter(UnboundBuffer *buffer) {
        std::lock_guard<std::mutex> lock(mutex);
        if (broken)
            throw gloo::IoException(why);
        active.push_back(buffer);
    }

    void leave(UnboundBuffer *buffer) {
        std::lock_guard<std::mutex> lock(mutex);
        active.erase(std::remove(active.begin(), active.end(), buffer), active.end());
    }

    // Why it is broken; "" if it is not.
    std::string reason() {
        std::lock_guard<std::mutex> lock(mutex);
        return broken ? why : "";
    }

    size_t address_bytes = 0;
    uint64_t slot = first_slot; // of the next message; all ranks count alike

  private:
    // A peer that leaves in good order says farewell; else its connection's end is an exception.
    void watch() {
        try {
            for (int i = 0; i < size - 1; i++)
                if (!sentinel->waitRecv(for_ever))
                    return;
        } catch (const std::exception &e) {
            give_up(plain(e.what()));
        }
    }

    void take_leave() {
        if (!reason().empty())
            return;
        try {
            auto end = clock_type::now() + farewell_wait;
            char word = 0;
            auto buffer = createUnboundBuffer(&word, 1);
            each_peer([&](int i) { buffer->send(i, farewell_slot, 0, 1); });
            each_peer([&](int) { buffer->waitSend(left(end)); });
        } catch (const std::exception &) {
            // somebody has left before, or is lost: nobody is left to tell
        }
    }

    char farewell = 0;
    std::unique_ptr<UnboundBuffer> sentinel;
    std::thread watcher;
    std::mutex mutex; // of what follows
    std::vector<UnboundBuffer *> active;
    bool broken = false;
    std::string why;
};

// Memory in an operation: whoever waits for it can be woken by Mesh::give_up.
class Buffer {
  public:
    Buffer(Mesh &mesh, void *data, size_t size)
        : mesh_(mesh), buffer_(mesh.createUnboundBuffer(data, size)) {
        mesh_.enter(buffer_.get());
    }
    ~Buffer() {
        mesh_.leave(buffer_.get());
    }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;

    void send(int rank, uint64_t slot, size_t offset, size_t size) {
        buffer_->send(rank, slot, offset, size);
    }
    void recv(int rank, uint64_t slot, size_t offset, size_t size) {
        buffer_->recv(rank, slot, offset, size);
    }
    void received(int from, clock_type::time_point end) {
        wait(from, [&] { return buffer_->waitRecv(left(end)); });
    }
    void sent(int to, clock_type::time_point end) {
        wait(to, [&] { return buffer_->waitSend(left(end)); });
    }

  private:
    template <typename F> void wait(int rank, F done) {
        try {
            if (done())
                return;
        } catch (const gloo::IoException &e) {
            throw gloo::IoException("waiting for rank " + std::to_string(rank) + ": " +
                                    plain(e.what()));
        }
        throw gloo::IoException(mesh_.reason());
    }

    Mesh &mesh_;
    std::unique_ptr<UnboundBuffer> buffer_;
};

// A function of its own, for the compiler to vectorise.
void add(float *to, const float *from, size_t count) {
    for (size_t i = 0; i < count; i++)
        to[i] += from[i];
}

// First number of part i of `parts`.
size_t part(size_t count, int i, int parts) {
    return count / static_cast<size_t>(parts) * static_cast<size_t>(i) +
           std::min(static_cast<size_t>(i), count % static_cast<size_t>(parts));
}

// The ring. Part p is summed on its way from rank p to rank p − 1, and the sum goes on from there
// to all others, so that everybody has the bits that one rank computed.
void ring_sum(Mesh &mesh, float *data, size_t count, milliseconds deadline) {
    auto end = clock_type::now() + deadline;
    int world = mesh.size, next = (mesh.rank + 1) % world,
        previous = (mesh.rank + world - 1) % world;
    std::vector<float> incoming(part(count, 1, world));
    Buffer whole(mesh, data, count * sizeof *data);
    Buffer room(mesh, incoming.data(), incoming.size() * sizeof *data);
    auto size_of = [&](int p) { return part(count, p + 1, world) - part(count, p, world); };
    for (int turn = 0; turn < 2 * (world - 1); turn++) {
        bool adds = turn < world - 1;
        int out = (mesh.rank + 2 * world - turn) % world, in = (out + world - 1) % world;
        uint64_t slot = mesh.slot++;
        size_t bytes_in = size_of(in) * sizeof *data, bytes_out = size_of(out) * sizeof *data;
        size_t at_in = part(count, in, world), at_out = part(count, out, world);
        if (bytes_in > 0 && adds)
            room.recv(previous, slot, 0, bytes_in);
        else if (bytes_in > 0)
            whole.recv(previous, slot, at_in * sizeof *data, bytes_in);
        if (bytes_out > 0)
            whole.send(next, slot, at_out * sizeof *data, bytes_out);
        if (bytes_in > 0)
            (adds ? room : whole).received(previous, end);
        if (bytes_in > 0 && adds)
            add(data + at_in, incoming.data(), size_of(in));
        if (bytes_out > 0)
            whole.sent(next, end);
    }
}

void exchange(Mesh &mesh, const void *data, size_t size, char *all, milliseconds deadline) {
    auto end = clock_type::now() + deadline;
    uint64_t slot = mesh.slot++;
    std::memcpy(all + static_cast<size_t>(mesh.rank) * size, data, size);
    Buffer out(mesh, const_cast<void *>(data), size);
    std::vector<std::unique_ptr<Buffer>> in(static_cast<size_t>(mesh.size));
    mesh.each_peer([&](int i) {
        auto &buffer = in[static_cast<size_t>(i)];
        buffer.reset(new Buffer(mesh, all + static_cast<size_t>(i) * size, size));
        buffer->recv(i, slot, 0, size);
        out.send(i, slot, 0, size);
    });
    mesh.each_peer([&](int i) { in[static_cast<size_t>(i)]->received(i, end); });
    mesh.each_peer([&](int i) { out.sent(i, end); });
}

void spread(Mesh &mesh, void *data, size_t size, int root, milliseconds deadline) {
    auto end = clock_type::now() + deadline;
    uint64_t slot = mesh.slot++;
    Buffer buffer(mesh, data, size);
    if (mesh.rank != root) {
        buffer.recv(root, slot, 0, size);
        buffer.received(root, end);
        return;
    }
    mesh.each_peer([&](int i) { buffer.send(i, slot, 0, size); });
    mesh.each_peer([&](int i) { buffer.sent(i, end); });
}

mesh_status_t say(mesh_status_t status, const char *what, char *text) {
    std::snprintf(text, MESH_TEXT, "%s", plain(what));
    return status;
}

// Whatever function throws becomes a status. Gloo stumbles over connections that were closed under
// it with exceptions of any kind: then the mesh knows better.
template <typename F> mesh_status_t guarded(Mesh *mesh, char *text, F function) noexcept {
    try {
        function();
        return MESH_OK;
    } catch (const gloo::IoException &e) {
        bool late = std::strstr(e.what(), "imed out") || std::strstr(e.what(), "imeout");
        return say(late ? MESH_LATE : MESH_LOST, e.what(), text);
    } catch (const std::bad_alloc &) {
        return say(MESH_NO_MEMORY, "no memory for gloo", text);
    } catch (const std::exception &e) {
        std::string reason = mesh ? mesh->reason() : "";
        return reason.empty() ? say(MESH_WRONG, e.what(), text)
                              : say(MESH_LOST, reason.c_str(), text);
    } catch (...) {
        return say(MESH_WRONG, "gloo failed without a word", text);
    }
}

} // namespace

struct mesh {
    std::shared_ptr<Mesh> context;
};

mesh_status_t mesh_new(int rank, int world, const char *address, int64_t deadline_ms, mesh_t **made,
                       void **addresses, size_t *size, char *text) {
    *made = nullptr;
    *addresses = nullptr;
    return guarded(nullptr, text, [&] {
        std::unique_ptr<mesh> one(new mesh);
        one->context = std::make_shared<Mesh>(rank, world, address, milliseconds(deadline_ms));
        std::vector<char> all = one->context->addresses();
        void *copy = std::malloc(all.size());
        if (!copy)
            throw std::bad_alloc();
        std::memcpy(copy, all.data(), all.size());
        *addresses = copy;
        *size = all.size();
        *made = one.release();
    });
}

mesh_status_t mesh_connect(mesh_t *mesh, const void *const *others, char *text) {
    return guarded(mesh->context.get(), text, [&] { mesh->context->connect(others); });
}

void mesh_delete(mesh_t *mesh) {
    char text[MESH_TEXT];
    guarded(nullptr, text, [&] { delete mesh; });
}

mesh_status_t mesh_sum(mesh_t *mesh, float *data, size_t count, int64_t deadline_ms, char *text) {
    return guarded(mesh->context.get(), text,
                   [&] { ring_sum(*mesh->context, data, count, milliseconds(deadline_ms)); });
}

mesh_status_t mesh_gather(mesh_t *mesh, const void *data, size_t size, void *all,
                          int64_t deadline_ms, char *text) {
    return guarded(mesh->context.get(), text, [&] {
        exchange(*mesh->context, data, size, static_cast<char *>(all), milliseconds(deadline_ms));
    });
}

mesh_status_t mesh_broadcast(mesh_t *mesh, void *data, size_t size, int root, int64_t deadline_ms,
                             char *text) {
    return guarded(mesh->context.get(), text,
                   [&] { spread(*mesh->context, data, size, root, milliseconds(deadline_ms)); });
}

void mesh_break(mesh_t *mesh) {
    char text[MESH_TEXT];
    guarded(mesh->context.get(), text,
            [&] { mesh->context->give_up("the connections were closed"); });
}
