// ConversationList (picker.py): groups, each followed by its threads, with a search field and arrow keys.
// The search looks at the rows that the kernel has sent; it asks the kernel for nothing.
export default widgetPart('imkit-picker', ({ model, el, label, listen }) => {
    const isMultiple = model.get('multiple');
    const timeFormat = dateFormat(model, { hour: '2-digit', minute: '2-digit', hour12: false });
    const dayFormat = dateFormat(model, { day: 'numeric', month: 'short' });
    const isToday = at => new Date(at).toDateString() === new Date().toDateString();
    const timeOrDay = at => (isToday(at) ? timeFormat : dayFormat).format(at);

    let rows = [], picked = null, chosen = new Set(), isLoading = true;
    const search = element('input', {
        cls: 'imkit-input', type: 'search', placeholder: label('pick_search_tip'), 'aria-label': label('pick_search'), on: { input: () => drawList() },
    });
    const list = element('div', { cls: 'imkit-conversations', role: 'listbox', 'aria-label': label('pick_title'), 'aria-multiselectable': isMultiple });
    el.style.setProperty('--imkit-height', `${model.get('height')}px`);
    el.append(search, list);

    const choose = row => {
        if (isMultiple) {
            if (chosen.has(row.key)) chosen.delete(row.key); else chosen.add(row.key);
            model.send({ do: 'chosen', keys: [...chosen] });
        } else {
            picked = row.key;
            model.send({ do: 'pick', key: row.key });
        }
        drawList();
        list.querySelector(`[data-key="${row.key}"]`)?.focus();
    };

    const onKey = (event, row, node) => {
        const options = [...list.querySelectorAll('[role=option]')];
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (step) { event.preventDefault(); options[options.indexOf(node) + step]?.focus(); }
        if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); choose(row); }
    };

    const drawRow = row => {
        const isSelected = isMultiple ? chosen.has(row.key) : picked === row.key;
        const node = element('div', {
            cls: `imkit-conversation ${row.kind}`, role: 'option', tabindex: '-1', 'data-key': row.key, 'aria-selected': String(isSelected),
            on: { click: () => choose(row), keydown: event => onKey(event, row, node) },
        });
        if (isMultiple) {
            const box = element('input', { type: 'checkbox', tabindex: '-1', 'aria-hidden': 'true' });
            box.checked = isSelected;
            node.append(box);
        }
        node.append(
            element('span', { cls: 'imkit-conversation-name', text: `${row.kind === 'group' ? '' : '# '}${row.name}` }),
            element('span', { cls: 'imkit-conversation-facts' }, ...row.facts.map(fact => element('span', { text: fact })),
                row.at ? element('time', { datetime: new Date(row.at).toISOString(), text: timeOrDay(row.at) }) : null));
        if (row.newest) node.append(element('span', { cls: 'imkit-conversation-newest', text: row.newest }));
        return node;
    };

    const drawList = () => {
        const query = search.value.trim().toLowerCase();
        const matches = row => !query || [row.name, row.id, row.newest, row.owner].some(text => String(text ?? '').toLowerCase().includes(query));
        // A thread that matches is shown below its group, also if the group itself does not match.
        const groups = new Set(rows.filter(row => row.kind === 'thread' && matches(row)).map(row => row.group));
        const shown = rows.filter(row => matches(row) || groups.has(row.key));
        const focused = list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
        const scrollTop = list.scrollTop;
        list.replaceChildren(...shown.map(drawRow));
        const note = isLoading ? 'pick_loading' : !rows.length ? 'pick_empty' : !shown.length ? 'pick_nothing' : null;
        if (note) list.append(element('div', { cls: 'imkit-list-note', text: label(note) }));
        (list.querySelector('[aria-selected="true"]') ?? list.querySelector('[role=option]'))?.setAttribute('tabindex', '0');
        list.scrollTop = scrollTop;
        if (focused) list.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
    };

    const receive = content => {
        if (content.do !== 'conversations') return;
        ({ rows, picked } = content);
        isLoading = content.loading;
        chosen = new Set(content.chosen);
        drawList();
    };
    listen('msg:custom', receive);
    drawList();
    model.send({ do: 'open' });
});
