package tinymodels

import (
	"math/rand/v2"
	"strings"

	"github.com/ollama/ollama/fs/ggml"
)

// Words embeds texts so that those which share words are near each other. Words
// come apart into pairs of letters, each with a direction of its own drawn by
// chance from a fixed seed, and a text lies where its pairs lie on average.
// Order and meaning count for nothing, capitals are small letters, and what is
// not written in plain letters, digits and punctuation is all the same to it.
var Words = Model{
	Name:       "tiny-words",
	Template:   "{{ .Prompt }}",
	Parameters: parameters(),
	weights:    wordWeights,
}

const (
	wordWidth    = 256
	wordHeadSize = 32
	wordContext  = 512
)

func wordWeights() (ggml.KV, []*ggml.Tensor) {
	tokens := wordTokens()
	const n = wordWidth
	tensors := []*ggml.Tensor{
		tensor("token_embd.weight", n, directions(len(tokens))),
		zeros("position_embd.weight", n, wordContext),
		zeros("token_types.weight", n, 2),
		ones("token_embd_norm.weight", n),

		zeros("blk.0.attn_q.weight", n, n),
		zeros("blk.0.attn_k.weight", n, n),
		zeros("blk.0.attn_v.weight", n, n),
		zeros("blk.0.attn_output.weight", n, n),
		ones("blk.0.attn_output_norm.weight", n),
		zeros("blk.0.ffn_up.weight", n, idleWidth),
		zeros("blk.0.ffn_down.weight", idleWidth, n),
		ones("blk.0.layer_output_norm.weight", n),
	}
	return wordMetadata(tokens), tensors
}

// marks are the tokens that every bert has. They point nowhere, so that the two
// which enclose each text bring no texts nearer.
var marks = []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}

// wordTokens lists what a word can come apart into, at its beginning (after ▁)
// and further on: a letter or a digit, a pair of letters, a punctuation mark.
func wordTokens() []string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	var pieces []string
	for _, a := range letters {
		pieces = append(pieces, string(a))
		for _, b := range letters {
			pieces = append(pieces, string(a)+string(b))
		}
	}
	pieces = append(pieces, strings.Split("0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "")...)

	tokens := marks
	for _, p := range pieces {
		tokens = append(tokens, "▁"+p, p)
	}
	return tokens
}

func directions(tokens int) values {
	random := rand.New(rand.NewPCG(1, 2))
	v := make(values, tokens*wordWidth)
	for i := len(marks) * wordWidth; i < len(v); i++ {
		v[i] = float32(random.NormFloat64())
	}
	return v
}

func wordMetadata(tokens []string) ggml.KV {
	types := make([]int32, len(tokens))
	for i := range types {
		types[i] = normalToken
		if i < len(marks) {
			types[i] = controlToken
		}
	}
	return ggml.KV{
		"general.architecture": "bert",
		"general.file_type":    uint32(0), // all F32

		"bert.block_count":                  uint32(1),
		"bert.context_length":               uint32(wordContext),
		"bert.embedding_length":             uint32(wordWidth),
		"bert.feed_forward_length":          uint32(idleWidth),
		"bert.attention.head_count":         uint32(wordWidth / wordHeadSize),
		"bert.attention.head_count_kv":      uint32(wordWidth / wordHeadSize),
		"bert.attention.layer_norm_epsilon": float32(1e-12),
		"bert.attention.causal":             false,
		"bert.pooling_type":                 uint32(1), // the mean
		"bert.vocab_size":                   uint32(len(tokens)),

		"tokenizer.ggml.model":              "bert",
		"tokenizer.ggml.tokens":             tokens,
		"tokenizer.ggml.token_type":         types,
		"tokenizer.ggml.token_type_count":   uint32(2),
		"tokenizer.ggml.unknown_token_id":   uint32(1),
		"tokenizer.ggml.cls_token_id":       uint32(2),
		"tokenizer.ggml.seperator_token_id": uint32(3), // the format's own spelling
		"tokenizer.ggml.padding_token_id":   uint32(0),
		"tokenizer.ggml.mask_token_id":      uint32(4),
	}
}
