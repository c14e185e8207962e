package speech

import (
	"io/fs"

	experimental "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/sys"
)

// outputFile is where flite writes, as it sees it; it cannot write to standard output.
const outputFile = "/out.wav"

// maxOutput bounds what an instance may write: 4 minutes at 16 kHz.
const maxOutput = 8 << 20

// An outputFS is the file system of one instance: one file in memory that can be written from start to end, in
// a directory that cannot be listed.
type outputFS struct {
	experimental.UnimplementedFS
	data []byte
}

func (f *outputFS) OpenFile(path string, _ experimental.Oflag, _ fs.FileMode) (experimental.File, experimental.Errno) {
	switch path {
	case ".", "/", "":
		return rootDir{}, 0
	case outputFile[1:], outputFile:
		f.data = nil
		return &outputData{fs: f}, 0
	}
	return nil, experimental.ENOENT
}

func (f *outputFS) Stat(path string) (sys.Stat_t, experimental.Errno) {
	if path == "." || path == "/" || path == "" {
		return rootDir{}.Stat()
	}
	return sys.Stat_t{}, experimental.ENOENT
}

type rootDir struct{ experimental.UnimplementedFile }

func (rootDir) IsDir() (bool, experimental.Errno) { return true, 0 }

func (rootDir) Stat() (sys.Stat_t, experimental.Errno) {
	return sys.Stat_t{Mode: fs.ModeDir | 0o755, Nlink: 1}, 0
}

type outputData struct {
	experimental.UnimplementedFile
	fs *outputFS
}

func (d *outputData) Stat() (sys.Stat_t, experimental.Errno) {
	return sys.Stat_t{Mode: 0o644, Nlink: 1, Size: int64(len(d.fs.data))}, 0
}

func (d *outputData) Write(b []byte) (int, experimental.Errno) {
	if len(d.fs.data)+len(b) > maxOutput {
		return 0, experimental.EIO
	}
	d.fs.data = append(d.fs.data, b...)
	return len(b), 0
}
