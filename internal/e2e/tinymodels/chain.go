package tinymodels

import (
	"fmt"
	"math"

	"github.com/ollama/ollama/fs/ggml"
)

// A path is a run of tokens, each followed by the next. Together the paths of a
// model say for every token what comes after it, which is all the model knows.
type path []string

const (
	contextLength = 64 << 10

	// idleWidth is that of the parts which do nothing: a whole attention head,
	// and only one, since a long prompt costs attention its square.
	idleWidth = 32

	// Logits lie so far apart that no usual temperature, seed or penalty
	// changes what is said.
	nextLogit = 10_000
	rankLogit = 30
)

// preference orders the bytes by how soon they would end a JSON value. It counts
// when a grammar forbids what the path wants: the answer then is about the
// smallest that the schema allows. A quote comes before the brackets, which
// inside a string would only prolong it, and spaces come last of all.
const preference = `"}]:,0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ[{`

// chain gives the weights of a language model that follows the paths: a llama
// with as many columns as tokens. The embedding lights the column of the latest
// token, attention and feed-forward add nothing to it, and the output layer
// reads off that column what comes next.
func chain(paths ...path) func() (ggml.KV, []*ggml.Tensor) {
	return func() (ggml.KV, []*ggml.Tensor) {
		vocab := newVocabulary(paths)
		n := len(vocab.tokens)
		tensors := []*ggml.Tensor{
			tensor("token_embd.weight", n, diagonal(n)),
			ones("output_norm.weight", n),
			tensor("output.weight", n, vocab.output(paths)),

			ones("blk.0.attn_norm.weight", n),
			zeros("blk.0.attn_q.weight", n, idleWidth),
			zeros("blk.0.attn_k.weight", n, idleWidth),
			zeros("blk.0.attn_v.weight", n, idleWidth),
			zeros("blk.0.attn_output.weight", idleWidth, n),
			ones("blk.0.ffn_norm.weight", n),
			zeros("blk.0.ffn_gate.weight", n, idleWidth),
			zeros("blk.0.ffn_up.weight", n, idleWidth),
			zeros("blk.0.ffn_down.weight", idleWidth, n),
		}
		return vocab.metadata(), tensors
	}
}

func diagonal(n int) values {
	v := make(values, n*n)
	for i := range n {
		v[i*n+i] = 1
	}
	return v
}

// output is the matrix that turns the latest token's column into a logit for
// every token.
func (v *vocabulary) output(paths []path) values {
	n := len(v.tokens)
	// The norm before this layer makes the lit column as bright as all were.
	scale := 1 / float32(math.Sqrt(float64(n)))
	m := make(values, n*n)
	for token, rank := range v.ranks() {
		for latest := range n {
			m[token*n+latest] = rankLogit * scale * float32(rank)
		}
	}
	for latest, next := range v.successors(paths) {
		m[next*n+latest] = nextLogit * scale
	}
	return m
}

// ranks gives each token a place of its own in the order of preference, where
// the highest is the most wanted: the end, then the bytes that end something.
func (v *vocabulary) ranks() []int {
	ranks := make([]int, len(v.tokens))
	for i := range ranks {
		ranks[i] = -i
	}
	for i, b := range preference {
		ranks[v.ids[string(b)]] = len(preference) - i
	}
	ranks[v.ids[end]] = len(preference) + 1
	return ranks
}

// successors says which token follows which. Paths that disagree are a mistake
// in this package.
func (v *vocabulary) successors(paths []path) map[int]int {
	next := map[int]int{}
	for _, p := range paths {
		for i, to := range p[1:] {
			for _, from := range v.idsOf(p[i]) {
				if old, ok := next[from]; ok && old != v.ids[to] {
					panic(fmt.Sprintf("tinymodels: after %q comes both %q and %q", p[i], v.tokens[old], to))
				}
				next[from] = v.ids[to]
			}
		}
	}
	return next
}

func (v *vocabulary) metadata() ggml.KV {
	n := uint32(len(v.tokens))
	return ggml.KV{
		"general.architecture": "llama",
		"general.file_type":    uint32(0), // all F32

		"llama.block_count":                      uint32(1),
		"llama.context_length":                   uint32(contextLength),
		"llama.embedding_length":                 n,
		"llama.feed_forward_length":              uint32(idleWidth),
		"llama.attention.head_count":             uint32(1),
		"llama.attention.head_count_kv":          uint32(1),
		"llama.attention.key_length":             uint32(idleWidth),
		"llama.attention.value_length":           uint32(idleWidth),
		"llama.attention.layer_norm_rms_epsilon": float32(1e-6),
		"llama.rope.dimension_count":             uint32(idleWidth),
		"llama.rope.freq_base":                   float32(10_000),
		"llama.vocab_size":                       n,

		"tokenizer.ggml.model":         "gpt2",
		"tokenizer.ggml.pre":           "default",
		"tokenizer.ggml.tokens":        v.tokens,
		"tokenizer.ggml.token_type":    v.types,
		"tokenizer.ggml.merges":        []string{}, // so a prompt stays in bytes
		"tokenizer.ggml.add_bos_token": false,
		"tokenizer.ggml.bos_token_id":  uint32(v.ids[end]),
		"tokenizer.ggml.eos_token_id":  uint32(v.ids[end]),
	}
}
