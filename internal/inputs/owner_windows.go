package inputs

import "io/fs"

// ownOnly is always true: on Windows the directory for temporary files is each user's own.
func ownOnly(fs.FileInfo) bool { return true }
