// WireList (wire_view.py): WebSocket frames and REST calls, newest last.
const MAX_ENTRIES = 500;

export default widgetPart('imkit-wire', ({ model, el, label, listen }) => {
    const timeFormat = dateFormat(model, { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hour12: false });
    const empty = element('div', { cls: 'imkit-list-note', text: label('wire_empty') });
    const list = element('div', { cls: 'imkit-wire-list', tabindex: '0', role: 'log', 'aria-label': label('wire_title'), 'aria-live': 'off' }, empty);
    const pauseButton = element('button', { type: 'button', text: label('wire_pause') });
    const clearButton = element('button', { type: 'button', text: label('wire_clear') });
    let isPaused = false, waiting = [];
    el.style.setProperty('--imkit-height', `${model.get('height')}px`);

    const drawEntry = entry => element('details', {},
        element('summary', {},
            element('span', { cls: entry.direction, text: `${entry.direction === 'up' ? '↑' : '↓'} ${label(`wire_${entry.direction}`)} ` }),
            element('time', { text: `${timeFormat.format(entry.at)} `, datetime: new Date(entry.at).toISOString() }),
            element('b', { text: entry.command }), ` · ${label('wire_bytes', { n: entry.size })}`),
        element('pre', { text: entry.decoded }));
    const addEntries = entries => {
        if (!entries.length) return;
        const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
        empty.remove();
        list.append(...entries.slice(-MAX_ENTRIES).map(drawEntry));
        while (list.children.length > MAX_ENTRIES) list.firstChild.remove();
        if (isAtEnd) list.scrollTop = list.scrollHeight;
    };
    const receive = content => {
        if (content.do !== 'entries') return;
        if (isPaused) waiting = [...waiting, ...content.entries].slice(-MAX_ENTRIES);
        else addEntries(content.entries);
    };
    pauseButton.addEventListener('click', () => {
        isPaused = !isPaused;
        pauseButton.textContent = label(isPaused ? 'wire_resume' : 'wire_pause');
        if (!isPaused) { addEntries(waiting); waiting = []; }
    });
    clearButton.addEventListener('click', () => { list.replaceChildren(empty); waiting = []; });
    listen('msg:custom', receive);
    el.append(element('div', { cls: 'imkit-box-foot' }, element('b', { text: label('wire_title') }), element('span', {}, pauseButton, ' ', clearButton)), list);
    model.send({ do: 'open' });
    return () => model.send({ do: 'close' });
});
