package task

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
)

// WireVersion is the version of the stream; an agent takes no other.
const WireVersion = 3

// maxLine bounds a line of the stream. Content goes in blobs, so lines are short.
const maxLine = 1 << 20

// maxBlob bounds one blob.
const maxBlob = 1 << 30

// inMemory is the size up to which a received blob stays in memory; content with secrets is small, so none of it is
// written to the receiver's disk.
const inMemory = 1 << 20

// The stream is lines of JSON: a header, blobs, each followed by its bytes and a line feed, tasks and handlers in
// their order, and an end. Nothing is done before the end has been read.
type frame struct {
	Goldsmith int      `json:"goldsmith,omitempty"`
	Play      string   `json:"play,omitempty"`
	Check     bool     `json:"check,omitempty"`
	Blob      string   `json:"blob,omitempty"`
	Size      int64    `json:"size,omitempty"`
	Task      *message `json:"task,omitempty"`
	Handler   *message `json:"handler,omitempty"`
	End       bool     `json:"end,omitempty"`
}

type message struct {
	Name      string          `json:"name"`
	Notify    []string        `json:"notify,omitempty"`
	Sensitive bool            `json:"sensitive,omitempty"`
	Kind      string          `json:"kind"`
	Spec      json.RawMessage `json:"spec"`
	// Content is the blob of a kind that has one: a file's, a unit's, statements.
	Content *Blob `json:"content,omitempty"`
}

// contentSpec is a kind whose content goes in a blob, and not in the JSON of its description.
type contentSpec interface {
	Spec
	// content has no digest where there is none, of a file that is to be absent.
	content() Blob
	withContent(Blob) (Spec, error)
}

// contentOf is the content of a description, if it has one.
func contentOf(spec Spec) *Blob {
	if with, ok := spec.(contentSpec); ok {
		if blob := with.content(); blob.Digest != "" {
			return &blob
		}
	}
	return nil
}

// Encode writes a play as a stream. The play must be valid.
func Encode(w io.Writer, p Play, check bool) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	encoder := json.NewEncoder(buffered)
	if err := encoder.Encode(frame{Goldsmith: WireVersion, Play: p.Name, Check: check}); err != nil {
		return fmt.Errorf("send play %s: %w", p.Name, err)
	}
	sent := map[string]bool{}
	for _, t := range append(append([]Task(nil), p.Tasks...), p.Handlers...) {
		blob := contentOf(t.Spec)
		if blob == nil || sent[blob.Digest] {
			continue
		}
		sent[blob.Digest] = true
		if err := encodeBlob(buffered, encoder, *blob); err != nil {
			return fmt.Errorf("send play %s: task %q: %w", p.Name, t.Name, err)
		}
	}
	for i, t := range append(append([]Task(nil), p.Tasks...), p.Handlers...) {
		spec, err := json.Marshal(t.Spec)
		if err != nil {
			return fmt.Errorf("send play %s: task %q: %w", p.Name, t.Name, err)
		}
		m := &message{
			Name:      t.Name,
			Notify:    t.Notify,
			Sensitive: t.Sensitive,
			Kind:      t.Spec.Kind(),
			Spec:      spec,
			Content:   contentOf(t.Spec),
		}
		f := frame{Task: m}
		if i >= len(p.Tasks) {
			f = frame{Handler: m}
		}
		if err := encoder.Encode(f); err != nil {
			return fmt.Errorf("send play %s: task %q: %w", p.Name, t.Name, err)
		}
	}
	if err := encoder.Encode(frame{End: true}); err != nil {
		return fmt.Errorf("send play %s: %w", p.Name, err)
	}
	return buffered.Flush()
}

func encodeBlob(w io.Writer, encoder *json.Encoder, blob Blob) error {
	content, err := blob.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	if err = encoder.Encode(frame{Blob: blob.Digest, Size: blob.Size}); err != nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(content, blob.Size))
	if err == nil && n != blob.Size {
		err = fmt.Errorf("blob %s: it has shrunk from %d to %d bytes since it was first read", blob.Digest, blob.Size,
			n)
	}
	if err != nil {
		return err
	}
	_, err = w.Write([]byte{'\n'})
	return err
}

// Decode reads a whole stream and returns a valid play whose blobs can be opened. Large blobs are spooled into files
// below dir, which the caller removes.
func Decode(r io.Reader, dir string) (p Play, check bool, err error) {
	d := decoder{r: bufio.NewReaderSize(r, 64<<10), dir: dir, blobs: map[string]Blob{}}
	header, err := d.frame()
	if err != nil {
		return Play{}, false, fmt.Errorf("read play: %w", err)
	}
	if header.Goldsmith != WireVersion {
		return Play{}, false, fmt.Errorf(
			"read play: the stream has version %d, this agent takes %d",
			header.Goldsmith,
			WireVersion,
		)
	}
	p.Name = header.Play
	for {
		f, err := d.frame()
		if err != nil {
			return Play{}, false, fmt.Errorf("read play %s: %w", p.Name, err)
		}
		switch {
		case f.End:
			return p, header.Check, p.Validate()
		case f.Blob != "":
			err = d.blob(f.Blob, f.Size)
		case f.Task != nil:
			err = d.add(&p.Tasks, f.Task)
		case f.Handler != nil:
			err = d.add(&p.Handlers, f.Handler)
		default:
			err = errors.New("a line is neither blob, task, handler nor end")
		}
		if err != nil {
			return Play{}, false, fmt.Errorf("read play %s: %w", p.Name, err)
		}
	}
}

type decoder struct {
	r     *bufio.Reader
	dir   string
	blobs map[string]Blob
}

func (d *decoder) frame() (frame, error) {
	var text []byte
	for {
		part, err := d.r.ReadSlice('\n')
		text = append(text, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return frame{}, err
		}
		if len(text) > maxLine {
			return frame{}, fmt.Errorf("a line is longer than %d bytes", maxLine)
		}
	}
	var f frame
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&f); err != nil {
		return frame{}, fmt.Errorf("a line is no JSON of this version: %w", err)
	}
	return f, nil
}

// blob reads a blob's bytes and checks them against their digest.
func (d *decoder) blob(digest string, size int64) error {
	if size < 0 || size > maxBlob {
		return fmt.Errorf("blob %s: its size %d is not within 0 and %d", digest, size, maxBlob)
	}
	h := sha256.New()
	content := io.TeeReader(io.LimitReader(d.r, size), h)
	b := Blob{Digest: digest, Size: size}
	if size <= inMemory {
		memory := make([]byte, size)
		if _, err := io.ReadFull(content, memory); err != nil {
			return fmt.Errorf("blob %s: %w", digest, err)
		}
		b.open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(memory)), nil }
	} else {
		path, err := spool(d.dir, content, size)
		if err != nil {
			return fmt.Errorf("blob %s: %w", digest, err)
		}
		b.open = func() (io.ReadCloser, error) { return os.Open(path) }
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != digest {
		return fmt.Errorf("blob %s: its content is %s", digest, got)
	}
	if end, err := d.r.ReadByte(); err != nil || end != '\n' {
		return fmt.Errorf("blob %s: it does not end where it says", digest)
	}
	d.blobs[digest] = b
	return nil
}

func spool(dir string, content io.Reader, size int64) (string, error) {
	f, err := os.CreateTemp(dir, "blob-")
	if err != nil {
		return "", err
	}
	n, err := io.Copy(f, content)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return f.Name(), errors.Join(err, f.Close())
}

func (d *decoder) add(tasks *[]Task, m *message) error {
	spec, err := decodeSpec(m.Kind, m.Spec)
	if err != nil {
		return fmt.Errorf("task %q: %w", m.Name, err)
	}
	if m.Content != nil {
		with, ok := spec.(contentSpec)
		if !ok {
			return fmt.Errorf("task %q: kind %s has no content", m.Name, m.Kind)
		}
		received, ok := d.blobs[m.Content.Digest]
		if !ok {
			return fmt.Errorf("task %q: blob %s was not sent", m.Name, m.Content.Digest)
		}
		if spec, err = with.withContent(received); err != nil {
			return fmt.Errorf("task %q: %w", m.Name, err)
		}
	}
	*tasks = append(*tasks, Task{Name: m.Name, Notify: m.Notify, Sensitive: m.Sensitive, Spec: spec})
	return nil
}

// decodeSpec reads a description by the table of kinds.
func decodeSpec(kind string, description json.RawMessage) (Spec, error) {
	zero, err := onWire(kind)
	if err != nil {
		return nil, err
	}
	spec := reflect.New(reflect.TypeOf(zero))
	strict := json.NewDecoder(bytes.NewReader(description))
	strict.DisallowUnknownFields()
	if err := strict.Decode(spec.Interface()); err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return spec.Elem().Interface().(Spec), nil
}
