package task

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
)

// Blob is content named by its digest. On the wire it is the name and the size; the bytes go over once per play,
// however many tasks name them.
type Blob struct {
	// Digest is "sha256:" and 64 hexadecimal digits.
	Digest string `json:"digest"`
	Size   int64  `json:"size"`

	open func() (io.ReadCloser, error)
}

// Bytes is a blob of content in memory.
func Bytes(content []byte) Blob {
	sum := sha256.Sum256(content)
	return Blob{
		Digest: "sha256:" + hex.EncodeToString(sum[:]),
		Size:   int64(len(content)),
		open:   func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}
}

// FileBlob is a blob of a file on the operator's side, read once here for its digest and again when it is sent.
func FileBlob(path string) (Blob, error) {
	f, err := os.Open(path)
	if err != nil {
		return Blob{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return Blob{}, fmt.Errorf("read %s: %w", path, err)
	}
	return Blob{
		Digest: "sha256:" + hex.EncodeToString(h.Sum(nil)),
		Size:   n,
		open:   func() (io.ReadCloser, error) { return os.Open(path) },
	}, nil
}

// Open reads the content; only a blob made by Bytes or FileBlob, or resolved by the receiving side, has any.
func (b Blob) Open() (io.ReadCloser, error) {
	if b.open == nil {
		return nil, fmt.Errorf("open blob %s: its content is not here", b.Digest)
	}
	return b.open()
}
