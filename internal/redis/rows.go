package redis

import (
	"context"
	"errors"
	"strconv"

	"github.com/redis/rueidis"
)

// maxRow bounds an answer of a batch in bytes, as a record: many are read at once.
const maxRow = 64 << 10

// keyOfRow is the key of the answer to a question of a batch. Both have been named after all that
// the answer depends on, the tenant included.
func (c *Client) keyOfRow(batch, key string) string { return c.keyOfLimit("row", batch+" "+key) }

// PutRow implements batch.Shared.
func (c *Client) PutRow(batch, key string, row []byte) {
	if !c.usable.Load() {
		return
	}
	name := c.keyOfRow(batch, key)
	record, err := c.sealer.encode(name, header{}, row)
	if err == nil && len(record) > maxRow {
		err = errTooLarge
	}
	if errors.Is(err, errTooLarge) {
		c.tooLarge.Add(1)
	}
	if err == nil {
		c.write(name, func(b rueidis.Builder) rueidis.Commands {
			return rueidis.Commands{b.Arbitrary("SET").Keys(name).Args(rueidis.BinaryString(record), "PX", milliseconds(c.opts.TTL)).Build()}
		})
	}
}

// Rows implements batch.Shared.
func (c *Client) Rows(batch string, keys []string) map[string][]byte {
	results, ok := c.do(context.Background(), func(b rueidis.Builder) (all rueidis.Commands) {
		for _, key := range keys {
			all = append(all, b.Arbitrary("GETRANGE").Keys(c.keyOfRow(batch, key)).Args("0", strconv.Itoa(maxRow)).Build())
		}
		return all
	})
	if !ok {
		return nil
	}
	rows := make(map[string][]byte)
	for i, key := range keys {
		if _, row, ok := c.decodeRecord(c.keyOfRow(batch, key), results[i]); ok {
			rows[key] = row
		}
	}
	return rows
}

// DropRows implements batch.Shared.
func (c *Client) DropRows(batch string, keys []string) {
	c.write(c.keyOfRow(batch, ""), func(b rueidis.Builder) (all rueidis.Commands) {
		for _, key := range keys {
			all = append(all, b.Arbitrary("DEL").Keys(c.keyOfRow(batch, key)).Build())
		}
		return all
	})
}
