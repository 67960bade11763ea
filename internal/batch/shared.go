package batch

import (
	"encoding/json"
	"slices"
)

// Shared keeps answers of batches for other replicas of the server. Its methods return within a
// short time, and have no errors: what cannot be had is asked for again.
type Shared interface {
	// PutRow keeps the answer to a question of a batch, unless it is too large.
	PutRow(batch, key string, row []byte)
	// Rows returns the answers to questions that any replica has kept, by key.
	Rows(batch string, keys []string) map[string][]byte
	// DropRows removes answers.
	DropRows(batch string, keys []string)
}

// sharedAtOnce is for how many questions other replicas are asked at once.
const sharedAtOnce = 32

// take takes over the answers that other replicas have kept, to questions without one here.
func (j *journal) take(keys []string, digests string) {
	shared := j.set.opts.Shared
	if shared == nil {
		return
	}
	missing := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return j.has(key, digests) })
	for some := range slices.Chunk(missing, sharedAtOnce) {
		for key, raw := range shared.Rows(j.id, some) {
			var row Row
			if json.Unmarshal(raw, &row) != nil || !(place{digests: row.Digests}).isOf(digests) {
				continue
			}
			if j.keep(key, row) != nil {
				return // there is no room for more
			}
		}
	}
}

// dropShared removes answers from what other replicas can take over.
func (j *journal) dropShared(keys []string) {
	if shared := j.set.opts.Shared; shared != nil {
		for some := range slices.Chunk(keys, sharedAtOnce) {
			shared.DropRows(j.id, some)
		}
	}
}
