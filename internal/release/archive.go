package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func sortFiles(files []file) {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
}

func (f file) mode() int64 {
	if f.exec {
		return 0o755
	}
	return 0o644
}

// tarGz packs files, with nothing in it that differs from one day or machine to the next.
func tarGz(files []file, when time.Time) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	t := tar.NewWriter(z)
	for _, f := range files {
		head := &tar.Header{Name: f.name, Mode: f.mode(), Size: int64(len(f.data)), ModTime: when, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(head); err != nil {
			return nil, err
		}
		if _, err := t.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}

// zipped is tarGz for what is unpacked on Windows and by Claude Desktop.
func zipped(files []file, when time.Time) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		head := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: when}
		head.SetMode(os.FileMode(f.mode()))
		w, err := z.CreateHeader(head)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return b.Bytes(), err
}

// archive packs the program of one platform.
func (r *release) archive(p program, extras []file) error {
	data, err := os.ReadFile(p.file)
	if err != nil {
		return err
	}
	folder := r.stem(p)
	files := []file{{name: folder + "/" + p.name(), data: data, exec: true}}
	for _, f := range extras {
		f.name = folder + "/" + f.name
		files = append(files, f)
	}
	if p.os == "windows" {
		packed, err := zipped(files, r.date)
		return r.write(folder+".zip", packed, err)
	}
	packed, err := tarGz(files, r.date)
	return r.write(folder+".tar.gz", packed, err)
}

// write adds a file to the release, unless making it has failed.
func (r *release) write(name string, data []byte, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Printf("%9d  %s\n", len(data), name)
	return os.WriteFile(filepath.Join(r.out, name), data, 0o644)
}

const sums = "checksums.txt"

// checksums lists the SHA-256 sums of all files, as sha256sum reads them.
func (r *release) checksums() error {
	list, err := r.sumsOfFiles()
	return r.write(sums, []byte(list), err)
}

func (r *release) sumsOfFiles() (list string, err error) {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if e.Name() == sums {
			continue
		}
		sum, err := r.sum(e.Name())
		if err != nil {
			return "", err
		}
		list += sum + "  " + e.Name() + "\n"
	}
	return list, nil
}

// sum is the SHA-256 sum of a file of the release.
func (r *release) sum(name string) (string, error) {
	data, err := os.ReadFile(filepath.Join(r.out, name))
	return fmt.Sprintf("%x", sha256.Sum256(data)), err
}
