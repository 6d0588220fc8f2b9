// Ledger reads an export of Interlock's ledger with the code that checks Go's own checksum database:
// golang.org/x/mod/sumdb/note for signatures and golang.org/x/mod/sumdb/tlog for the tree. It knows nothing of ours but
// docs/ledger.md and C2SP's documents.
//
//	ledger -vkey KEY export DIR
//	ledger -vkey KEY proof FILE
//	ledger -vkey KEY growth FILE OLD-CHECKPOINT
//
// Export checks the signature, every leaf of every bundle of entries against the tiles, every tile against the signed
// root, that the tiles hold nothing else, and proofs made from the tiles. Proof checks a tlog-proof file, growth what a
// witness is sent. It prints one line of JSON and ends with 0, or a sentence and ends with 1.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	width  = 1 << height
	sample = 97 // an inclusion proof is made and checked for every so many entries
)

func main() {
	vkey := flag.String("vkey", "", "the log's verifier key")
	flag.Parse()
	verifier, err := note.NewVerifier(*vkey)
	if err != nil {
		fail(fmt.Errorf("the verifier key: %v", err))
	}
	var result interface{}
	switch args := flag.Args(); {
	case len(args) == 2 && args[0] == "export":
		result, err = checkExport(verifier, args[1])
	case len(args) == 2 && args[0] == "proof":
		result, err = checkProof(verifier, args[1])
	case len(args) == 3 && args[0] == "growth":
		result, err = checkGrowth(verifier, args[1], args[2])
	default:
		err = errors.New("usage: ledger -vkey KEY export DIR | proof FILE | growth FILE OLD-CHECKPOINT")
	}
	if err != nil {
		fail(err)
	}
	line, err := json.Marshal(result)
	if err != nil {
		fail(err)
	}
	fmt.Println(string(line))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// openCheckpoint returns the tree that a signed checkpoint of the verifier's log commits to.
func openCheckpoint(verifier note.Verifier, signed []byte) (tlog.Tree, error) {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("the checkpoint: %v", err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, errors.New("the checkpoint is not one of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return tlog.Tree{}, fmt.Errorf("the checkpoint's size is %q", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("the checkpoint's root: %v", err)
	}
	return tlog.Tree{N: size, Hash: root}, nil
}

// files reads tiles of an export. C2SP's paths are those of Go's checksum database without the height.
type files struct {
	directory string
	read      map[string]bool
}

func (f *files) Height() int { return height }

func (f *files) SaveTiles([]tlog.Tile, [][]byte) {}

func (f *files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := f.content(strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s holds %d bytes", tile.Path(), len(data))
		}
		all = append(all, data)
	}
	return all, nil
}

func (f *files) content(path string) ([]byte, error) {
	f.read[path] = true
	return os.ReadFile(filepath.Join(f.directory, filepath.FromSlash(path)))
}

// bundle returns the entries of the level-0 tile of that number.
func (f *files) bundle(tile tlog.Tile) ([][]byte, error) {
	tile.L = -1
	path := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
	rest, err := f.content(path)
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(rest) > 0 {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return nil, fmt.Errorf("%s ends within an entry", path)
		}
		end := 2 + int(binary.BigEndian.Uint16(rest))
		entries, rest = append(entries, rest[2:end]), rest[end:]
	}
	if len(entries) != tile.W {
		return nil, fmt.Errorf("%s holds %d entries and not %d", path, len(entries), tile.W)
	}
	return entries, nil
}

func checkExport(verifier note.Verifier, directory string) (interface{}, error) {
	signed, err := os.ReadFile(filepath.Join(directory, "checkpoint"))
	if err != nil {
		return nil, err
	}
	tree, err := openCheckpoint(verifier, signed)
	if err != nil {
		return nil, err
	}
	source := &files{directory: directory, read: map[string]bool{}}
	reader := tlog.TileHashReader(tree, source)
	if tree.N > 0 {
		if err := checkEntries(tree, source, reader); err != nil {
			return nil, err
		}
	}
	tiles := len(source.read)
	if err := checkNoOthers(source); err != nil {
		return nil, err
	}
	records, err := checkRecords(tree, reader)
	if err != nil {
		return nil, err
	}
	growths, err := checkGrowths(tree, reader)
	if err != nil {
		return nil, err
	}
	return map[string]interface{}{
		"size": tree.N, "root": tree.Hash.String(), "files": tiles, "inclusion": records, "consistency": growths,
	}, nil
}

// checkEntries hashes every entry and compares it with the tiles, which tlog checks against the signed root.
func checkEntries(tree tlog.Tree, source *files, reader tlog.HashReader) error {
	indexes := make([]int64, tree.N)
	for n := range indexes {
		indexes[n] = tlog.StoredHashIndex(0, int64(n))
	}
	leaves, err := reader.ReadHashes(indexes)
	if err != nil {
		return err
	}
	for first := int64(0); first < tree.N; first += width {
		tile := tlog.Tile{H: height, L: 0, N: first / width, W: width}
		if tree.N-first < width {
			tile.W = int(tree.N - first)
		}
		entries, err := source.bundle(tile)
		if err != nil {
			return err
		}
		for n, entry := range entries {
			if tlog.RecordHash(entry) != leaves[first+int64(n)] {
				return fmt.Errorf("entry %d is not the one that was signed", first+int64(n))
			}
		}
	}
	root, err := tlog.TreeHash(tree.N, tlog.HashReaderFunc(func(wanted []int64) ([]tlog.Hash, error) {
		return reader.ReadHashes(wanted)
	}))
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return errors.New("the tiles do not lead to the signed root")
	}
	return nil
}

// checkNoOthers fails where a file lies under tile/ that the log's size does not call for, and was not read.
func checkNoOthers(source *files) error {
	top := filepath.Join(source.directory, "tile")
	if _, err := os.Stat(top); os.IsNotExist(err) {
		return nil
	}
	return filepath.WalkDir(top, func(path string, found os.DirEntry, err error) error {
		if err != nil || found.IsDir() {
			return err
		}
		name, err := filepath.Rel(source.directory, path)
		if err == nil && !source.read[filepath.ToSlash(name)] {
			err = fmt.Errorf("%s is no file of this log", name)
		}
		return err
	})
}

func checkRecords(tree tlog.Tree, reader tlog.HashReader) (int, error) {
	checked := 0
	for n := int64(0); n < tree.N; n++ {
		if n%sample != 0 && n != tree.N-1 {
			continue
		}
		leaf, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, n)})
		if err != nil {
			return 0, err
		}
		proof, err := tlog.ProveRecord(tree.N, n, reader)
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, n, leaf[0]); err != nil {
			return 0, fmt.Errorf("inclusion of entry %d: %v", n, err)
		}
		checked++
	}
	return checked, nil
}

func checkGrowths(tree tlog.Tree, reader tlog.HashReader) (int, error) {
	checked := 0
	for _, older := range []int64{1, 2, 255, 256, 257, 1000, 65535, 65536, 65537, tree.N - 1, tree.N} {
		if older < 1 || older > tree.N {
			continue
		}
		root, err := tlog.TreeHash(older, reader)
		if err != nil {
			return 0, err
		}
		proof, err := tlog.ProveTree(tree.N, older, reader)
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, older, root); err != nil {
			return 0, fmt.Errorf("growth since %d: %v", older, err)
		}
		checked++
	}
	return checked, nil
}

// proofFile is what stands above a signed checkpoint: words with a value each, then hashes.
type proofFile struct {
	words  map[string]string
	hashes []tlog.Hash
	tree   tlog.Tree
}

func readProof(verifier note.Verifier, content []byte, words ...string) (*proofFile, error) {
	end := bytes.Index(content, []byte("\n\n"))
	if end < 0 {
		return nil, errors.New("the proof has no checkpoint")
	}
	tree, err := openCheckpoint(verifier, content[end+2:])
	if err != nil {
		return nil, err
	}
	found := &proofFile{words: map[string]string{}, tree: tree}
	for _, line := range strings.Split(string(content[:end]), "\n") {
		if len(words) > 0 && strings.HasPrefix(line, words[0]) {
			found.words[words[0]] = strings.TrimPrefix(line, words[0])
			words = words[1:]
			continue
		}
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, fmt.Errorf("the proof has the line %q", line)
		}
		found.hashes = append(found.hashes, hash)
	}
	if len(words) > 0 {
		return nil, fmt.Errorf("the proof lacks %q", words[0])
	}
	return found, nil
}

func checkProof(verifier note.Verifier, path string) (interface{}, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	head := "c2sp.org/tlog-proof@v1\n"
	if !strings.HasPrefix(string(content), head) {
		return nil, errors.New("it is no tlog-proof")
	}
	found, err := readProof(verifier, content[len(head):], "extra ", "index ")
	if err != nil {
		return nil, err
	}
	entry, err := base64.StdEncoding.DecodeString(found.words["extra "])
	if err != nil {
		return nil, fmt.Errorf("the entry: %v", err)
	}
	index, err := strconv.ParseInt(found.words["index "], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("the index: %v", err)
	}
	leaf := tlog.RecordHash(entry)
	if err := tlog.CheckRecord(found.hashes, found.tree.N, found.tree.Hash, index, leaf); err != nil {
		return nil, err
	}
	return map[string]interface{}{"index": index, "size": found.tree.N, "entry": string(entry)}, nil
}

func checkGrowth(verifier note.Verifier, path, since string) (interface{}, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found, err := readProof(verifier, content, "old ")
	if err != nil {
		return nil, err
	}
	kept, err := os.ReadFile(since)
	if err != nil {
		return nil, err
	}
	older, err := openCheckpoint(verifier, kept)
	if err != nil {
		return nil, err
	}
	if found.words["old "] != strconv.FormatInt(older.N, 10) {
		return nil, errors.New("the proof starts at another size than the checkpoint that was kept")
	}
	if err := tlog.CheckTree(found.hashes, found.tree.N, found.tree.Hash, older.N, older.Hash); err != nil {
		return nil, err
	}
	return map[string]interface{}{"old": older.N, "size": found.tree.N}, nil
}
