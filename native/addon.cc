// The addon's surface, function by function as lib/runtime/native.ts types it. N-API lives here and in addon_*.cc.
#include <iterator>
#include <thread>
#include <utility>

#include "addon_cuda.h"
#include "addon_handles.h"
#include "backend.h"
#include "binding.h"
#include "memory.h"

namespace nodevae {
namespace {

constexpr int64_t kMaxThreads = 1024;

using Function = Napi::Value (*)(Napi::Env, const Napi::CallbackInfo&);

// What Node calls for a function or a getter of ours.
template <Function function> napi_value exported(napi_env env, napi_callback_info raw) noexcept {
  return guarded(env, [&]() -> napi_value {
    const Napi::CallbackInfo info(env, raw);
    return function(env, info);
  });
}

// --- what there is ---

Napi::Array to_names(Napi::Env env, const std::vector<std::string>& names) {
  Napi::Array array = Napi::Array::New(env, names.size());
  for (uint32_t i = 0; i < names.size(); ++i) array[i] = Napi::String::New(env, names[i]);
  return array;
}

// The tier in force, or the one asked for when this processor has it.
std::string choose_tier(const std::string& asked) {
  try {
    if (asked.empty()) return cpu_tier();
  } catch (const std::exception& error) { // a bad NODE_VAE_ISA
    throw Failure{"device", error.what()};
  }
  std::string known;
  for (const std::string& tier : cpu_available_tiers()) {
    if (tier == asked) return tier;
    known += (known.empty() ? "" : ", ") + tier;
  }
  throw Failure{"device", "this processor has no instruction tier \"" + asked + "\"; it has " + known};
}

Napi::Value info(Napi::Env env, const Napi::CallbackInfo&) {
  std::vector<std::string> kernels, instructions;
  for (int32_t i = 0; i < static_cast<int32_t>(KernelId::count); ++i)
    kernels.emplace_back(kernel_name(static_cast<KernelId>(i)));
  for (int32_t i = 0; i < static_cast<int32_t>(Opcode::count); ++i)
    instructions.emplace_back(opcode_name(static_cast<Opcode>(i)));
  Napi::Object result = Napi::Object::New(env);
  result["version"] = Napi::String::New(env, NODE_VAE_VERSION);
  result["compiler"] = Napi::String::New(env, NODE_VAE_COMPILER);
  result["kernels"] = to_names(env, kernels);
  result["instructions"] = to_names(env, instructions);
  result["tiers"] = to_names(env, cpu_available_tiers());
  result["tier"] = Napi::String::New(env, choose_tier(""));
  result["processors"] = Napi::Number::New(env, std::thread::hardware_concurrency());
  const napi_property_descriptor cuda{"cuda",  nullptr, nullptr,         exported<cuda_info_property>,
                                      nullptr, nullptr, napi_enumerable, nullptr};
  if (napi_define_properties(env, result, 1, &cuda) != napi_ok) throw Napi::Error::New(env);
  return result;
}

Napi::Value probe(Napi::Env env, const Napi::CallbackInfo& info) {
  const std::string tier = choose_tier(to_string(info[0], "tier"));
  const double seconds = info[1].IsNumber() ? info[1].As<Napi::Number>().DoubleValue() : 0;
  if (!(seconds > 0 && seconds <= 60)) throw Failure{"argument", "seconds must be above 0 and at most 60"};
  Napi::Object result = Napi::Object::New(env);
  result["fma"] = Napi::Number::New(env, cpu_probe_fma(tier, seconds));
  result["l1"] = Napi::Number::New(env, cpu_probe_l1(tier, seconds));
  return result;
}

// --- contexts and residents ---

std::shared_ptr<ContextHandle> open_context(Napi::Value value) {
  auto context = from_handle<ContextHandle>(value);
  if (context->closed()) throw Failure{"disposed", "the device is closed"};
  return context;
}

Napi::Value open_context_(Napi::Env env, const Napi::CallbackInfo& info) {
  const std::string name = to_string(info[0], "device");
  const int threads = static_cast<int>(to_integer(info[1], "threads", 1, kMaxThreads));
  const std::string tier = choose_tier(to_string(info[2], "tier"));
  const std::string precision = to_string(info[3], "precision");
  if (name == "cpu" && precision != "float32")
    throw Failure{"argument", "the CPU computes in float32, not in " + precision};
  auto device = name == "cpu" ? open_cpu_device(threads, tier) : open_cuda_device(name, precision);
  return to_handle(env, std::make_shared<ContextHandle>(threads, std::move(device)));
}

Napi::Value close_context(Napi::Env env, const Napi::CallbackInfo& info) {
  const auto context = from_handle<ContextHandle>(info[0]);
  context->stop_runs();
  context->close();
  return env.Undefined();
}

Napi::Value allocate(Napi::Env env, const Napi::CallbackInfo& info) {
  const auto context = open_context(info[0]);
  const DType dtype = to_dtype(info[1]);
  const int64_t elements = to_integer(info[2], "elements", 1, int64_t{1} << 40);
  auto resident = std::make_shared<Resident>(
      dtype, elements, context->device->allocate(static_cast<size_t>(elements) * dtype_size(dtype)));
  auto external = std::make_unique<ExternalMemory>(env, resident->memory->bytes());
  return to_handle(env,
                   std::make_shared<BufferHandle>(BufferHandle{context, std::move(resident), std::move(external)}));
}

Napi::Value release(Napi::Env env, const Napi::CallbackInfo& info) {
  const auto buffer = from_handle<BufferHandle>(info[0]);
  buffer->resident.reset();
  buffer->external.reset();
  buffer->spare.reset();
  return env.Undefined();
}

std::shared_ptr<BufferHandle> open_buffer(Napi::Value value) {
  auto buffer = from_handle<BufferHandle>(value);
  if (!buffer->resident) throw Failure{"disposed", "the resident is released"};
  return buffer;
}

class WriteJob : public PromiseJob {
public:
  // `spare` is null where the copy is not to be kept.
  WriteJob(std::shared_ptr<Resident> resident, size_t offset, const char* data, size_t bytes,
           std::shared_ptr<SpareCopies> spare)
      : resident_(std::move(resident)), spare_(std::move(spare)), offset_(offset), bytes_(bytes),
        data_(spare_ ? spare_->copy_of(data, bytes, kPurpose) : AlignedMemory::copy_of(data, bytes, kPurpose)) {}

protected:
  void work(Pool&, const std::atomic<bool>&) override {
    resident_->memory->write(offset_, data_.data(), bytes_);
    ++resident_->version;
    if (spare_) spare_->give_back(std::move(data_));
  }
  Napi::Value result(Napi::Env env) override { return env.Undefined(); }

private:
  static constexpr const char* kPurpose = "a copy of what is written to a tensor";
  const std::shared_ptr<Resident> resident_;
  const std::shared_ptr<SpareCopies> spare_;
  const size_t offset_;
  const size_t bytes_;
  AlignedMemory data_;
};

Napi::Value write(Napi::Env env, const Napi::CallbackInfo& info) {
  const auto buffer = open_buffer(info[0]);
  const Resident& resident = *buffer->resident;
  const int64_t offset = to_integer(info[1], "offset", 0, kMaxSafeInteger);
  const ArrayView array = to_array(info[2], resident.dtype, "data");
  const bool again = !info[3].IsUndefined() && to_boolean(info[3], "again");
  if (offset > resident.elements || array.elements > static_cast<size_t>(resident.elements - offset))
    throw Failure{"shape", std::to_string(array.elements) + " elements at " + std::to_string(offset) +
                               " do not fit into a resident of " + std::to_string(resident.elements)};
  const size_t size = dtype_size(resident.dtype);
  const size_t bytes = array.elements * size;
  const bool keeps = again && bytes >= SpareCopies::kLeast;
  if (keeps && !buffer->spare) buffer->spare = std::make_shared<SpareCopies>();
  return buffer->context->enqueue(env, std::make_unique<WriteJob>(buffer->resident, static_cast<size_t>(offset) * size,
                                                                  array.data, bytes, keeps ? buffer->spare : nullptr));
}

class ReadJob : public PromiseJob {
public:
  explicit ReadJob(std::shared_ptr<Resident> resident) : resident_(std::move(resident)) {}

protected:
  void work(Pool&, const std::atomic<bool>&) override {
    data_ = AlignedMemory(resident_->memory->bytes(), "a copy of a tensor that is read");
    resident_->memory->read(0, data_.data(), data_.bytes());
  }
  Napi::Value result(Napi::Env env) override {
    return from_bytes(env, resident_->dtype, data_.data(), static_cast<size_t>(resident_->elements));
  }

private:
  const std::shared_ptr<Resident> resident_;
  AlignedMemory data_;
};

Napi::Value read(Napi::Env env, const Napi::CallbackInfo& info) {
  const auto buffer = open_buffer(info[0]);
  return buffer->context->enqueue(env, std::make_unique<ReadJob>(buffer->resident));
}

// --- sessions ---

Napi::Value compile(Napi::Env env, const Napi::CallbackInfo& info) {
  const auto context = open_context(info[0]);
  const ArrayView words = to_array(info[1], DType::int32, "words");
  Plan plan = parse_plan(reinterpret_cast<const int32_t*>(words.data), words.elements);
  if (!info[2].IsArray()) throw Failure{"argument", "residents must be an array"};
  const Napi::Array handles = info[2].As<Napi::Array>();
  std::vector<std::shared_ptr<Resident>> residents;
  for (uint32_t i = 0; i < handles.Length(); ++i) {
    const auto buffer = open_buffer(handles.Get(i));
    if (buffer->context != context) throw Failure{"argument", "a resident belongs to another device"};
    residents.push_back(buffer->resident);
  }
  if (const std::string problem = bind_problem(plan, residents); !problem.empty()) throw Failure{"argument", problem};
  std::shared_ptr<Session> session = context->device->compile(std::move(plan), std::move(residents));
  auto external = std::make_unique<ExternalMemory>(env, session->arena_bytes() + session->scratch_bytes());
  return to_handle(env,
                   std::make_shared<SessionHandle>(SessionHandle{context, std::move(session), std::move(external)}));
}

Napi::Value scratch_bytes(Napi::Env env, const Napi::CallbackInfo& info) {
  const auto context = open_context(info[0]);
  const ArrayView words = to_array(info[1], DType::int32, "words");
  const Plan plan = parse_plan(reinterpret_cast<const int32_t*>(words.data), words.elements);
  return Napi::Number::New(env, static_cast<double>(context->device->scratch_bytes(plan)));
}

std::shared_ptr<SessionHandle> open_session(Napi::Value value) {
  auto handle = from_handle<SessionHandle>(value);
  if (!handle->session) throw Failure{"disposed", "the session is disposed"};
  return handle;
}

Napi::Value stop(Napi::Env env, const Napi::CallbackInfo& info) {
  const auto handle = from_handle<SessionHandle>(info[0]);
  if (handle->session) handle->context->stop_runs(handle->session.get());
  return env.Undefined();
}

Napi::Value dispose_session(Napi::Env env, const Napi::CallbackInfo& info) {
  const auto handle = from_handle<SessionHandle>(info[0]);
  if (handle->session) handle->context->stop_runs(handle->session.get());
  handle->session.reset();
  handle->external.reset();
  return env.Undefined();
}

Napi::Value memory(Napi::Env env, const Napi::CallbackInfo& info) {
  const auto handle = open_session(info[0]);
  Napi::Object result = Napi::Object::New(env);
  result["arena"] = Napi::Number::New(env, static_cast<double>(handle->session->arena_bytes()));
  result["scratch"] = Napi::Number::New(env, static_cast<double>(handle->session->scratch_bytes()));
  result["residents"] = Napi::Number::New(env, static_cast<double>(handle->session->resident_bytes()));
  return result;
}

class RunJob : public PromiseJob {
public:
  RunJob(std::shared_ptr<Session> session, RunRequest request)
      : control(std::make_shared<RunControl>()), session_(std::move(session)), request_(std::move(request)) {}
  const std::shared_ptr<RunControl> control;

protected:
  void work(Pool& pool, const std::atomic<bool>& abandon) override {
    control->abandon = &abandon;
    outcome_ = session_->run(request_, pool, *control);
  }

  Napi::Value result(Napi::Env env) override {
    static constexpr const char* kStatus[] = {"done", "stopped", "diverged"};
    const auto number = [&](uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); };
    const Plan& plan = session_->plan();
    Napi::Array outputs = Napi::Array::New(env, plan.outputs.size());
    for (uint32_t i = 0; i < plan.outputs.size(); ++i) {
      const BufferSpec& buffer = plan.buffers[static_cast<size_t>(plan.outputs[i])];
      outputs[i] = from_bytes(env, buffer.dtype, outcome_.outputs[i].data(), static_cast<size_t>(buffer.elements));
    }
    Napi::Object result = Napi::Object::New(env);
    result["outputs"] = outputs;
    result["terms"] = from_bytes(env, DType::float32, outcome_.terms.data(), outcome_.terms.size());
    result["completed"] = number(outcome_.completed);
    result["status"] = Napi::String::New(env, kStatus[static_cast<int>(outcome_.status)]);
    result["divergedStep"] = number(outcome_.diverged_step);
    result["divergedTerm"] = number(outcome_.diverged_term);
    result["restoredStep"] = number(outcome_.restored_step);
    result["profile"] = from_doubles(env, outcome_.profile);
    return result;
  }

private:
  const std::shared_ptr<Session> session_;
  const RunRequest request_;
  RunOutcome outcome_;
};

RunRequest to_request(const Plan& plan, Napi::Value value) {
  if (!value.IsObject()) throw Failure{"argument", "options must be an object"};
  const Napi::Object options = value.As<Napi::Object>();
  RunRequest request;
  request.steps = static_cast<uint64_t>(to_integer(options.Get("steps"), "steps", 1, kMaxSafeInteger));
  request.first_step = static_cast<uint64_t>(to_integer(options.Get("firstStep"), "firstStep", 0, kMaxSafeInteger));
  const auto low = static_cast<uint64_t>(to_integer(options.Get("seedLow"), "seedLow", 0, UINT32_MAX));
  const auto high = static_cast<uint64_t>(to_integer(options.Get("seedHigh"), "seedHigh", 0, UINT32_MAX));
  request.seed = high << 32 | low;
  request.profile = to_boolean(options.Get("profile"), "profile");

  const Napi::Value inputs = options.Get("inputs");
  if (!inputs.IsArray() || inputs.As<Napi::Array>().Length() != plan.inputs.size())
    throw Failure{"argument", "inputs must be an array of " + std::to_string(plan.inputs.size()) + " typed arrays"};
  for (uint32_t i = 0; i < plan.inputs.size(); ++i) {
    const BufferSpec& buffer = plan.buffers[static_cast<size_t>(plan.inputs[i])];
    const std::string name = "input " + std::to_string(i);
    const ArrayView array = to_array(inputs.As<Napi::Array>().Get(i), buffer.dtype, name);
    if (array.elements != static_cast<size_t>(buffer.elements))
      throw Failure{"shape", name + " has " + std::to_string(array.elements) + " elements, not " +
                                 std::to_string(buffer.elements)};
    request.inputs.push_back(
        AlignedMemory::copy_of(array.data, array.elements * dtype_size(buffer.dtype), "a copy of a session's input"));
  }
  return request;
}

Napi::Value run(Napi::Env env, const Napi::CallbackInfo& info) {
  const auto handle = open_session(info[0]);
  auto job = std::make_unique<RunJob>(handle->session, to_request(handle->session->plan(), info[1]));
  handle->context->add_run(handle->session.get(), job->control);
  return handle->context->enqueue(env, std::move(job));
}

// --- the module ---

napi_property_descriptor method(const char* name, napi_callback callback) {
  return {name, nullptr, callback, nullptr, nullptr, nullptr, napi_default_jsproperty, nullptr};
}

// glibc gives threads heaps of their own, eight for each processor, and keeps in them what ended threads have freed. A
// process that starts and ends workers grew from 78 to 110 MiB over 300 of them, and by 1 MiB over 1,000 with this.
void end_environment(void*) noexcept { trim_heap(); }

napi_value initialize(napi_env env, napi_value exports) {
  const napi_property_descriptor functions[] = {
      method("info", exported<info>),
      method("openContext", exported<open_context_>),
      method("closeContext", exported<close_context>),
      method("allocate", exported<allocate>),
      method("release", exported<release>),
      method("write", exported<write>),
      method("read", exported<read>),
      method("compile", exported<compile>),
      method("scratchBytes", exported<scratch_bytes>),
      method("disposeSession", exported<dispose_session>),
      method("run", exported<run>),
      method("stop", exported<stop>),
      method("memory", exported<memory>),
      method("lowerCuda", exported<lower_cuda>),
      method("probe", exported<probe>),
  };
  if (napi_define_properties(env, exports, std::size(functions), functions) != napi_ok ||
      napi_add_env_cleanup_hook(env, end_environment, env) != napi_ok) // runs behind those of the channels
    throw Napi::Error::New(env);
  return exports;
}

} // namespace
} // namespace nodevae

NAPI_MODULE_INIT() {
  return nodevae::guarded(env, [&] { return nodevae::initialize(env, exports); });
}
