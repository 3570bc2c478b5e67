package wrongclock

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Possible says why this machine cannot do it; nil when it can.
func Possible() error { return nil }

// symbol is the function by which programs read clocks: clock_gettime(2).
const symbol = "__vdso_clock_gettime"

// The code that takes the function's place: it asks the kernel, and adds seconds to the time of day (clock 0) alone. The
// registers that it changes belong to it by the calling convention of x86-64.
var (
	codeHead = []byte{
		0xb8, 228, 0, 0, 0, // mov eax, 228: the number of clock_gettime
		0x0f, 0x05, //         syscall
		0x85, 0xff, //         test edi, edi: which clock
		0x75, 17, //           jne to the end
		0x85, 0xc0, //         test eax, eax: whether it went well
		0x75, 13, //           jne to the end
		0x48, 0xb9, //         mov rcx, the seconds that follow
	}
	codeTail = []byte{0x48, 0x01, 0x0e, 0xc3} // add [rsi], rcx; ret
	mark     = []byte("egovmon wrong clock")
)

const jumpSize = 5

// A page is the vDSO of a program.
type page struct {
	pid   int
	start int64 // where it is mapped
	image []byte
	entry int // of the function, in image
	size  int // of the function
	free  int // where nothing is, in image
}

// Shift sets the time of day that a running program reads ahead by this much, in whole seconds, or behind; 0 sets it right. The
// program is held for a moment. It must be this program's child, or this program root.
func Shift(pid int, ahead time.Duration) error {
	p, err := vdso(pid)
	if err != nil {
		return fmt.Errorf("clock of process %d: %w", pid, err)
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("clock of process %d: %w", pid, err)
	}
	defer mem.Close()
	if err := p.hold(); err != nil {
		return fmt.Errorf("clock of process %d: %w", pid, err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	if err := p.write(mem, int64(ahead.Round(time.Second)/time.Second)); err != nil {
		return fmt.Errorf("clock of process %d: %w", pid, err)
	}
	return nil
}

// write puts the code into the page, or the function's own beginning back.
func (p *page) write(mem *os.File, seconds int64) error {
	original := p.image[p.entry : p.entry+jumpSize]
	if kept := p.kept(); kept != nil {
		original = kept
	}
	if seconds == 0 {
		_, err := mem.WriteAt(original, p.start+int64(p.entry))
		return err
	}
	code := bytes.Clone(codeHead)
	code = binary.LittleEndian.AppendUint64(code, uint64(seconds))
	code = append(append(append(code, codeTail...), mark...), original...)
	if _, err := mem.WriteAt(code, p.start+int64(p.free)); err != nil {
		return err
	}
	jump := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(p.free-p.entry-jumpSize))
	_, err := mem.WriteAt(jump, p.start+int64(p.entry))
	return err
}

// kept is the function's own beginning, if it was changed before.
func (p *page) kept() []byte {
	at := p.free + len(codeHead) + 8 + len(codeTail)
	if !bytes.HasPrefix(p.image[at:], mark) {
		return nil
	}
	at += len(mark)
	return p.image[at : at+jumpSize]
}

// vdso reads the page of a program.
func vdso(pid int) (*page, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(maps)) {
		span, _, _ := strings.Cut(line, " ")
		from, to, ok := strings.Cut(span, "-")
		if !ok || !strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			continue
		}
		start, err1 := strconv.ParseInt(from, 16, 64)
		end, err2 := strconv.ParseInt(to, 16, 64)
		if err1 != nil || err2 != nil || end-start > 1<<20 {
			return nil, fmt.Errorf("its map has a vDSO at %q", span)
		}
		p := &page{pid: pid, start: start, image: make([]byte, end-start)}
		return p, p.read()
	}
	return nil, errors.New("it has no vDSO")
}

// read reads the page and finds the function, and room behind the code.
func (p *page) read() error {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", p.pid))
	if err != nil {
		return err
	}
	defer mem.Close()
	if _, err := mem.ReadAt(p.image, p.start); err != nil {
		return err
	}
	f, err := elf.NewFile(bytes.NewReader(p.image))
	if err != nil {
		return fmt.Errorf("its vDSO: %w", err)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return fmt.Errorf("its vDSO: %w", err)
	}
	for _, s := range symbols {
		if s.Name == symbol {
			p.entry, p.size = int(s.Value), int(s.Size)
		}
	}
	need := len(codeHead) + 8 + len(codeTail) + len(mark) + jumpSize
	p.free = len(p.image) - need
	if p.entry <= 0 || p.entry+max(p.size, jumpSize) > p.free {
		return fmt.Errorf("its vDSO has no function %s", symbol)
	}
	if p.kept() == nil && len(bytes.Trim(p.image[p.free:], "\x00")) > 0 {
		return errors.New("its vDSO has no room behind its code")
	}
	return nil
}

// hold halts the program where none of its threads is within the function's beginning.
func (p *page) hold() error {
	for range 100 {
		if err := syscall.Kill(p.pid, syscall.SIGSTOP); err != nil {
			return err
		}
		if p.halted() {
			return nil
		}
		if err := syscall.Kill(p.pid, syscall.SIGCONT); err != nil {
			return err
		}
	}
	return errors.New("it cannot be held outside of its clock")
}

// halted waits until every thread has stopped, and tells whether all are elsewhere.
func (p *page) halted() bool {
	for range 1000 {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", p.pid))
		if err != nil {
			return false
		}
		running, within := false, false
		for _, t := range tasks {
			text, err := os.ReadFile(t)
			if err != nil {
				continue // the thread is gone
			}
			f := strings.Fields(string(text)) // proc(5): the call's number, what it was given, then stack and program counter
			if len(f) < 3 {
				running = true
				continue
			}
			at, err := strconv.ParseUint(strings.TrimPrefix(f[len(f)-1], "0x"), 16, 64)
			from := uint64(p.start) + uint64(p.entry)
			within = within || err != nil || at > from && at < from+jumpSize
		}
		if !running && len(tasks) > 0 {
			return !within
		}
		time.Sleep(time.Millisecond)
	}
	return false
}
