// A stand-in for the miniaudio library, with which llama.cpp decodes sound.
//
// Go module archives leave out folders named "vendor", and that is where
// llama.cpp keeps its copy. The tests send no sound, so here is just what
// llama.cpp calls, and every decoder answers that it cannot be made.
#pragma once

#include <cstddef>
#include <cstdint>

using ma_uint32 = std::uint32_t;
using ma_uint64 = std::uint64_t;

enum ma_result { MA_SUCCESS = 0, MA_ERROR = -1 };
enum ma_format { ma_format_f32 = 5 };

struct ma_decoder_config {};
struct ma_decoder {};

static inline ma_decoder_config ma_decoder_config_init(ma_format, ma_uint32, ma_uint32) { return {}; }
static inline ma_result ma_decoder_init_memory(const void *, std::size_t, const ma_decoder_config *, ma_decoder *) { return MA_ERROR; }
static inline ma_result ma_decoder_get_length_in_pcm_frames(ma_decoder *, ma_uint64 *) { return MA_ERROR; }
static inline ma_result ma_decoder_read_pcm_frames(ma_decoder *, void *, ma_uint64, ma_uint64 *) { return MA_ERROR; }
static inline ma_result ma_decoder_uninit(ma_decoder *) { return MA_SUCCESS; }
