package files

import (
	"errors"
	"io/fs"
	"os"
)

// Open opens one regular file that may be read, whatever its size. Its error is a
// *fault.Error.
func (d *Dirs) Open(argument, name string) (f *os.File, info fs.FileInfo, err error) {
	where, err := places(d.readable(), name, read)
	if err != nil {
		return nil, nil, refuse(argument, name, err)
	}
	for _, p := range where {
		if f, info, err = p.openRegular(); err == nil {
			return f, info, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return nil, nil, refuse(argument, name, cause(err))
}
