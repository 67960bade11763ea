package remote

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"

	"ollama-mcp/internal/backend"
)

// decompress makes the body of a response readable that is compressed. No request asks for that,
// but some servers, and proxies in front of them, compress all they send.
func decompress(resp *http.Response) error {
	switch encoding := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding"))); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		resp.Body = &decompressed{packed: resp.Body}
	default:
		return &backend.Error{
			Class: backend.Server, Err: backend.ErrOtherAPI,
			Message: fmt.Sprintf("the answer is compressed as %q, which was not asked for", encoding),
		}
	}
	return nil
}

// decompressed is a body in gzip. It is opened by the first read, since that waits for
// the server.
type decompressed struct {
	packed io.ReadCloser
	plain  *gzip.Reader // nil before the first read
	err    error        // of opening it
}

func (d *decompressed) Read(p []byte) (int, error) {
	if d.plain == nil && d.err == nil {
		d.plain, d.err = gzip.NewReader(d.packed)
	}
	if d.err != nil {
		return 0, d.err
	}
	return d.plain.Read(p)
}

func (d *decompressed) Close() error { return d.packed.Close() }
