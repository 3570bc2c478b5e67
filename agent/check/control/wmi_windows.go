package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"

	"github.com/go-ole/go-ole"
	"github.com/go-ole/go-ole/oleutil"
)

// maxRows bounds the objects that are taken of one answer.
const maxRows = 256

// askWMI asks the local WMI by its scripting interface (SWbemServices.ExecQuery), which has no time limit of its own: the
// run of the control has one.
func askWMI(ctx context.Context, namespace, class string, properties ...string) (rows []row, err error) {
	const forwardOnly, returnAtOnce = 0x20, 0x10 // wbemFlagForwardOnly, wbemFlagReturnImmediately
	const useMaxWait = 0x80                      // wbemConnectFlagUseMaxWait: two minutes at most
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := ole.CoInitializeEx(0, ole.COINIT_MULTITHREADED); err != nil {
		if e, ok := errors.AsType[*ole.OleError](err); !ok || e.Code() != ole.S_OK && e.Code() != 1 { // 1: it was done before
			return nil, wmiError(err)
		}
	}
	defer ole.CoUninitialize()
	unknown, err := oleutil.CreateObject("WbemScripting.SWbemLocator")
	if err != nil {
		return nil, wmiError(err)
	}
	defer unknown.Release()
	locator, err := unknown.QueryInterface(ole.IID_IDispatch)
	if err != nil {
		return nil, wmiError(err)
	}
	defer locator.Release()
	service, err := oleutil.CallMethod(locator, "ConnectServer", ".", namespace, "", "", "", "", useMaxWait)
	if err != nil {
		return nil, wmiError(err)
	}
	defer clearValue(service)
	query := "SELECT " + strings.Join(properties, ", ") + " FROM " + class
	result, err := oleutil.CallMethod(service.ToIDispatch(), "ExecQuery", query, "WQL", forwardOnly|returnAtOnce)
	if err != nil {
		return nil, wmiError(err)
	}
	defer clearValue(result)
	err = oleutil.ForEach(result.ToIDispatch(), func(v *ole.VARIANT) error {
		defer clearValue(v)
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(rows) == maxRows {
			return errTooMany
		}
		r := row{}
		for _, name := range properties {
			p, err := v.ToIDispatch().InvokeWithOptionalArgs(name, ole.DISPATCH_METHOD|ole.DISPATCH_PROPERTYGET, nil) // as scripts do
			if err != nil {
				continue // this class has none on this version of Windows
			}
			r[name] = p.Value()
			clearValue(p)
		}
		rows = append(rows, r)
		return nil
	})
	if err != nil && !errors.Is(err, errTooMany) {
		return nil, wmiError(err)
	}
	return rows, nil
}

var errTooMany = fmt.Errorf("more than %d objects", maxRows)

func clearValue(v *ole.VARIANT) { _ = v.Clear() }

// wmiError tells what is missing and what is forbidden from the rest. The code of WMI stands within that of the call.
func wmiError(err error) error {
	e, ok := errors.AsType[*ole.OleError](err)
	if !ok {
		return err
	}
	code := uint32(e.Code())
	if inner, ok := e.SubError().(ole.EXCEPINFO); ok && inner.SCODE() != 0 {
		code = inner.SCODE()
	}
	switch code {
	case 0x80041003, 0x80070005: // WBEM_E_ACCESS_DENIED, E_ACCESSDENIED
		return fmt.Errorf("WMI: %w", fs.ErrPermission)
	case 0x80041002, 0x8004100e, 0x80041010, 0x80040154, 0x800401f3: // not found, no such namespace, no such class, no WMI
		return fmt.Errorf("WMI: %w", fs.ErrNotExist)
	}
	return fmt.Errorf("WMI: error %#x", code)
}
